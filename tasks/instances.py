"""Tasks without labels: images drawn at random are the classes, and the queries are augmentations of them.

UMTRA (Khodadadeh et al., 2019) draws N images, one a class. AAL (Antoniou and Storkey, 2019) gives a class K different
images, whose shared label says nothing: those are tasks of K shots. Labels of the data set are never looked at.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor

from tasks.augmentations import Augmentation, as_they_are, parse_augmentation
from tasks.dataset import Dataset
from tasks.task import Episode, Task, TaskShape, TaskSource, in_random_order


@dataclass(frozen=True, eq=False)
class InstanceTask(Task):
    """A task whose episodes have new random examples as classes each time; ``labels`` are all 0 and say nothing."""

    augment: Augmentation = as_they_are
    """What becomes of the images of queries, after ``redraw``."""

    def _episode(self, generator: Generator, shots: int, queries: int, device: torch.device | None) -> Episode:
        """Support: ``shots`` different random examples a class. Query: augmentations of these, ``queries`` a class.

        Where there are fewer shots than queries, each example is augmented about equally often. Raises ValueError if
        the data set has fewer examples than the support takes.
        """
        if min(shots, queries) < 1 or self.ways * shots > len(self.pool):
            raise ValueError(
                f"{self.dataset.name}: got {shots} shots and {queries} queries, expected 1 or more of each and at most "
                f"{len(self.pool) // self.ways} shots of {self.ways} classes of {len(self.pool)} examples"
            )
        rows = self.pool[torch.randperm(len(self.pool), generator=generator)[: self.ways * shots]]
        rows = rows.view(self.ways, shots)
        order = torch.stack([torch.randperm(shots, generator=generator) for _ in range(self.ways)])
        asked = rows.gather(1, order[:, torch.arange(queries) % shots])
        support, support_y = in_random_order(rows, generator)
        query, query_y = in_random_order(asked, generator)
        shape = self.dataset.image_shape or (1, self.dataset.inputs)
        images = self.augment(self._drawn(query, generator, device).view(-1, *shape), generator)
        query_x = images.flatten(1)[:, self.permutation.to(device)]
        return Episode(self._inputs(support, generator, device), support_y, query_x, query_y)


@dataclass(frozen=True, eq=False)
class InstanceSource(TaskSource):
    """Draws ``InstanceTask``s from ``datasets``, whose classes do not matter; queries go through ``augmentation``.

    Raises ValueError also for data that are not images, unless the augmentation is the identity, for what
    ``parse_augmentation`` refuses, and for fewer examples than the support of a task takes.
    """

    augmentation: str = "identity"

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self._augment  # refuse what it cannot read before anything is drawn
        for dataset in self.datasets:
            if dataset.image_shape is None and self.augmentation != "identity":
                raise ValueError(f"{dataset.name}: a table or text, expected images for {self.augmentation}")

    def _check_classes(self, dataset: Dataset, usable: int) -> None:
        needed = self.ways * self.shots
        if len(dataset) < needed:
            raise ValueError(
                f"{dataset.name}: {len(dataset)} examples, expected at least {needed}, for ways={self.ways} of "
                f"shots={self.shots}"
            )

    def _usable(self, index: int, shots: int) -> Tensor:
        """As many classes as a task may have: each is a draw of examples."""
        return torch.arange(self.ways)

    @cached_property
    def _augment(self) -> Augmentation:
        return parse_augmentation(self.augmentation)

    @property
    def _labelling(self) -> str:
        return self.augmentation

    def _identity(self, dataset: Dataset) -> str:
        return dataset.inputs_fingerprint

    def draw(self, generator: Generator, shape: TaskShape | None = None) -> InstanceTask:
        """A task of ``shape``, drawn first unless given: an input permutation; examples are drawn by its episodes."""
        index, ways, shots, inputs = self.draw_shape(generator) if shape is None else shape
        permutation = self._permutation(index, inputs, generator)
        nothing = torch.zeros(len(self.datasets[index]), dtype=torch.int64)
        return self._task(index, torch.arange(ways), permutation, shots, nothing)

    def _task(self, index: int, classes: Tensor, permutation: Tensor, shots: int, labels: Tensor) -> InstanceTask:
        dataset = self.datasets[index]
        pool = torch.arange(len(dataset))
        return InstanceTask(
            dataset, classes, permutation, shots, self.queries, labels, pool, index, self._redraw, self._augment
        )
