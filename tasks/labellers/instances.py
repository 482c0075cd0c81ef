"""Classes that are examples: images drawn at random, whose augmentations are the queries.

UMTRA (Khodadadeh et al., 2019) draws N images, one a class. AAL (Antoniou and Storkey, 2019) gives a class K different
images, whose shared label says nothing: those are tasks of K shots.
"""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from tasks.augmentations import parse_augmentation
from tasks.dataset import Dataset
from tasks.labellers.contract import Labeller, Sizes
from tasks.task import Episode, Picked, Task, in_random_order


class Instances(Labeller):
    """Each episode has new random examples as classes, and queries that are theirs after ``augmentation``.

    The labels of a task, all 0, say nothing. Raises ValueError for what ``parse_augmentation`` refuses.
    """

    sees_labels = False

    def __init__(self, augmentation: str = "zero_pixels=0.5,shift=0.21") -> None:
        self.augmentation = augmentation.strip()
        self._augment = parse_augmentation(augmentation)

    @property
    def settings(self) -> str:
        """The augmentation."""
        return self.augmentation

    def identity(self, dataset: Dataset) -> str:
        """A fingerprint of the inputs."""
        return dataset.inputs_fingerprint

    def usable(self, dataset: Dataset, sizes: Sizes, shots: int) -> Tensor:
        """As many classes as a task may have: each is a draw of examples."""
        return torch.arange(sizes.ways[1])

    def check(self, dataset: Dataset, sizes: Sizes) -> None:
        """Raise ValueError for fewer examples than the support of a task takes, and for an augmentation of no image."""
        ways, shots = sizes.ways[1], sizes.shots[1]
        if len(dataset) < ways * shots:
            raise ValueError(
                f"{dataset.name}: {len(dataset)} examples, expected at least {ways * shots}, for ways={ways} of "
                f"shots={shots}"
            )
        if dataset.image_shape is None and self.augmentation != "identity":
            raise ValueError(f"{dataset.name}: a table or text, expected images for {self.augmentation}")

    def choose(self, usable: Tensor, ways: int, generator: Generator) -> Tensor:
        """The first ``ways``: nothing is drawn before the episodes."""
        return usable[:ways]

    def rows(self, dataset: Dataset, classes: Tensor) -> Sequence[Tensor]:
        """All rows, in one group."""
        return (torch.arange(len(dataset)),)

    def drawn(self, task: Task, examples: int, generator: Generator) -> Tensor:
        """The rows of so many different ``examples``, those of the first class first: here at random."""
        return task.pool[torch.randperm(len(task.pool), generator=generator)[:examples]]

    def pick(self, task: Task, generator: Generator, shots: int, queries: int) -> Picked:
        """``shots`` different examples a class, and ``queries`` a class of the same, each about equally often.

        Raises ValueError if the data set has fewer examples than the support takes.
        """
        if min(shots, queries) < 1 or task.ways * shots > len(task.pool):
            raise ValueError(
                f"{task.dataset.name}: got {shots} shots and {queries} queries, expected 1 or more of each and at most "
                f"{len(task.pool) // task.ways} shots of {task.ways} classes of {len(task.pool)} examples"
            )
        rows = self.drawn(task, task.ways * shots, generator).view(task.ways, shots)
        order = torch.stack([torch.randperm(shots, generator=generator) for _ in range(task.ways)])
        asked = rows.gather(1, order[:, torch.arange(queries) % shots])
        return Picked(*in_random_order(rows, generator), *in_random_order(asked, generator))

    def episode(self, task: Task, picked: Picked, generator: Generator, device: torch.device | None) -> Episode:
        """Support as the task shows it; queries augmented before their inputs are permuted."""
        shape = task.dataset.image_shape or (1, task.dataset.inputs)
        images = self._augment(task.drawn(picked.query, generator, device).view(-1, *shape), generator)
        query_x = images.flatten(1)[:, task.permutation.to(device)]
        return Episode(task.shown(picked.support, generator, device), picked.support_y, query_x, picked.query_y)
