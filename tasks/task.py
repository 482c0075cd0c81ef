"""Few-shot tasks drawn from data sets: sampler × labeller × input permutation.

Shapes: n examples in the pool of a task, D inputs, S = ways · shots support and Q = ways · queries query examples.
"""

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tasks.augmentations import Augmentation, as_they_are, parse_augmentation
from tasks.dataset import Dataset
from tasks.labellers import LABELLERS


def uniform_int(bounds: tuple[int, int], generator: Generator) -> int:
    """A whole number drawn uniformly from ``bounds``, both ends included."""
    low, high = bounds
    return int(torch.randint(low, high + 1, (), generator=generator))


class Episode(NamedTuple):
    """Labelled examples of one task: support and query are disjoint, class-balanced and in random order."""

    support_x: Tensor
    """[S, D] float32."""
    support_y: Tensor
    """[S] int64 in 0..ways-1."""
    query_x: Tensor
    """[Q, D] float32."""
    query_y: Tensor
    """[Q] int64 in 0..ways-1."""


def in_random_order(rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """The ``rows`` [ways, k] of each class and their classes, [ways · k] each: the place of one says nothing of it."""
    order = torch.randperm(rows.numel(), generator=generator)
    return rows.reshape(-1)[order], order // rows.shape[1]


@dataclass(frozen=True, eq=False)
class Task:
    """One few-shot problem over one data set. Labels are in episodes only; unlabelled batches hold inputs alone."""

    dataset: Dataset
    classes: Tensor
    """[ways] int64: the data set's classes in this task."""
    permutation: Tensor
    """[D] int64: input i of the task is input permutation[i] of the data set, which may have more inputs."""
    shots: int
    queries: int
    labels: Tensor
    """[n] int64 in 0..ways-1: the label of each pool example."""
    pool: Tensor
    """[n] int64: the rows of the data set that belong to the classes, class by class."""
    dataset_index: int = 0
    """The place of the data set in its task source."""
    redraw: Augmentation = as_they_are
    """What becomes of an image each time that it is drawn."""

    @property
    def inputs(self) -> int:
        """D, the width of an example."""
        return len(self.permutation)

    @property
    def ways(self) -> int:
        """The number of classes in the task."""
        return len(self.classes)

    @cached_property
    def _members(self) -> list[Tensor]:
        """For each label, the rows of the data set that carry it."""
        return [self.pool[self.labels == label] for label in range(self.ways)]

    def _drawn(self, rows: Tensor, generator: Generator, device: torch.device | None) -> Tensor:
        """Rows [...] of the data set [..., D] as they are drawn, on ``device``, inputs in the data set's order."""
        x = self.dataset.x[rows].to(device)
        if self.dataset.image_shape is None:
            return x
        return self.redraw(x.view(-1, *self.dataset.image_shape), generator).reshape(x.shape)

    def _inputs(self, rows: Tensor, generator: Generator, device: torch.device | None) -> Tensor:
        """The task's inputs [..., D] for rows [...] of the data set, as they are drawn, on ``device``."""
        return self._drawn(rows, generator, device)[..., self.permutation.to(device)]

    def unlabelled(self, generator: Generator, steps: int, batch: int, device: torch.device | None = None) -> Tensor:
        """``steps`` batches of unlabelled examples, [steps, batch, D] float32, drawn uniformly from the pool.

        Within a batch no example comes twice, unless the pool is smaller than a batch. ``device`` is where they lie and
        images are redrawn, None for the CPU; but for rounding, what is drawn does not depend on it.
        """
        n = len(self.pool)
        if n >= batch:
            picks = [torch.randperm(n, generator=generator)[:batch] for _ in range(steps)]
            index = torch.stack(picks) if picks else torch.empty(0, batch, dtype=torch.int64)
        else:
            index = torch.randint(n, (steps, batch), generator=generator)
        return self._inputs(self.pool[index], generator, device)

    def episode(
        self,
        generator: Generator,
        shots: int | None = None,
        queries: int | None = None,
        device: torch.device | None = None,
    ) -> Episode:
        """A fresh draw of labelled examples, by default as many as the task states, on ``device`` (None: the CPU).

        Raises ValueError where the task has too few examples for that.
        """
        shots = self.shots if shots is None else shots
        queries = self.queries if queries is None else queries
        return Episode(*(part.to(device) for part in self._episode(generator, shots, queries, device)))

    def _episode(self, generator: Generator, shots: int, queries: int, device: torch.device | None) -> Episode:
        """An episode whose inputs are on ``device``. Raises ValueError if a label has fewer examples than it takes."""
        fewest = min(len(rows) for rows in self._members)
        if min(shots, queries) < 1 or shots + queries > fewest:
            raise ValueError(
                f"{self.dataset.name}: got {shots} shots and {queries} queries, expected 1 or more of each and at most "
                f"{fewest} together, the examples of the smallest class"
            )
        drawn = torch.stack(
            [rows[torch.randperm(len(rows), generator=generator)[: shots + queries]] for rows in self._members]
        )
        support, support_y = in_random_order(drawn[:, :shots], generator)
        query, query_y = in_random_order(drawn[:, shots:], generator)
        support_x, query_x = (self._inputs(rows, generator, device) for rows in (support, query))
        return Episode(support_x, support_y, query_x, query_y)

    def state(self) -> dict[str, Tensor]:
        """What ``TaskSource.restore`` needs to make this task again; all int64 tensors."""
        return {
            "dataset": torch.tensor(self.dataset_index),
            "classes": self.classes,
            "permutation": self.permutation,
            "shots": torch.tensor(self.shots),
            "labels": self.labels,
        }


class TaskShape(NamedTuple):
    """What must agree for tasks to run as one batch."""

    dataset: int
    """The place of the data set in its task source."""
    ways: int
    shots: int
    inputs: int


def suitable(dataset: Dataset, ways: int, examples: int) -> bool:
    """Whether ``dataset`` has ``ways`` classes of at least ``examples`` examples."""
    return int((torch.bincount(dataset.y) >= examples).sum()) >= ways


@dataclass(frozen=True, eq=False)
class TaskSource:
    """Draws tasks of ``ways`` classes from ``datasets``, whose widths may differ.

    ``permute`` gives each task its own fixed permutation of the inputs; ``labeller`` is a name in
    ``labellers.LABELLERS``. Classes with fewer than ``shots + queries`` examples are left out. What may vary from task
    to task: with ``fewest_ways`` or ``fewest_shots`` their number is drawn from there to ``ways`` or ``shots``, as far
    as the data set has as many, but at least two ways; with ``inputs`` = (fewest, most) a task keeps a random choice of
    so many inputs. ``parts`` counts the data sets that come from one place (tables of a collection, sizes of an image):
    each part is equally likely. Images go through ``redraw``, a text for ``parse_augmentation``, whenever they are
    drawn; other data stay as they are. Raises ValueError for no data sets, ways below 2, shots or queries below 1, an
    unknown labeller or augmentation, and a data set with too few usable classes.
    """

    datasets: tuple[Dataset, ...]
    ways: int
    shots: int
    queries: int
    permute: bool
    labeller: str = "true"
    fewest_ways: int | None = None
    fewest_shots: int | None = None
    inputs: tuple[int, int] | None = None
    parts: tuple[int, ...] = ()
    redraw: str = "identity"

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError("got no data sets, expected at least one")
        if min(self.ways, self._least_ways) < 2:
            raise ValueError(
                f"got ways={self.ways}, expected 2 or more: a task with one class has nothing to tell apart"
            )
        if self._least_shots < 1 or self.queries < 1:
            raise ValueError(f"got shots={self._least_shots} and queries={self.queries}, expected 1 or more of each")
        if self.labeller not in LABELLERS:
            near = get_close_matches(self.labeller, LABELLERS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"got labeller {self.labeller!r}, expected one of {', '.join(LABELLERS)}{hint}")
        _ = self._redraw  # refuse what it cannot read before anything is drawn
        for index, dataset in enumerate(self.datasets):
            self._check_classes(dataset, len(self._usable(index, self._least_shots)))

    @cached_property
    def _redraw(self) -> Augmentation:
        return parse_augmentation(self.redraw)

    @property
    def _least_ways(self) -> int:
        return self.ways if self.fewest_ways is None else min(2, self.fewest_ways)

    @property
    def _least_shots(self) -> int:
        return self.shots if self.fewest_shots is None else self.fewest_shots

    def _check_classes(self, dataset: Dataset, usable: int) -> None:
        """Raise ValueError unless ``dataset`` has enough classes and enough of them are large enough."""
        ways, shots = self._least_ways, self._least_shots
        if dataset.classes < ways:
            raise ValueError(
                f"{dataset.name}: {dataset.classes} {'class' if dataset.classes == 1 else 'classes'}, "
                f"expected at least ways={ways}; lower ways or take data with more classes"
            )
        if usable < ways:
            counts = torch.bincount(dataset.y)
            smallest = int(counts.argmin())
            raise ValueError(
                f"{dataset.name}: {usable} of {dataset.classes} classes have the {shots + self.queries} examples "
                f"that shots={shots} and queries={self.queries} take (class {dataset.class_names[smallest]!r} has "
                f"{int(counts[smallest])}), expected at least ways={ways} such classes; lower shots or queries"
            )

    @cached_property
    def _rows(self) -> list[tuple[Tensor, ...]]:
        """For each data set, the rows of each class."""
        return [
            torch.argsort(dataset.y, stable=True).split(counts.tolist())
            for dataset, counts in zip(self.datasets, self._counts, strict=True)
        ]

    @cached_property
    def _counts(self) -> list[Tensor]:
        """For each data set, the examples of each class."""
        return [torch.bincount(dataset.y) for dataset in self.datasets]

    def _usable(self, index: int, shots: int) -> Tensor:
        """The classes of a data set that have the examples for ``shots``, int64."""
        return (self._counts[index] >= shots + self.queries).nonzero().flatten()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the data sets and every setting that decides what is drawn."""
        settings = (self.ways, self.shots, self.queries, self.permute, self._labelling)
        varying: tuple[object, ...] = (self.fewest_ways, self.fewest_shots, self.inputs, self.parts)
        if self.redraw != "identity":  # sources without it keep the fingerprint that they had
            varying += (self.redraw,)
        digest = hashlib.sha256(repr((settings, varying)).encode())
        for dataset in self.datasets:
            digest.update(self._identity(dataset).encode())
        return digest.hexdigest()

    @property
    def _labelling(self) -> str:
        """The setting that decides labels."""
        return self.labeller

    def _identity(self, dataset: Dataset) -> str:
        """A fingerprint of all of ``dataset`` that tasks depend on."""
        return dataset.fingerprint

    def draw_shape(self, generator: Generator) -> TaskShape:
        """A part uniformly, one of its data sets uniformly, then what varies: shots, ways and the number of inputs."""
        index = 0
        if self.parts:
            part = int(torch.randint(len(self.parts), (), generator=generator))
            index = sum(self.parts[:part]) + int(torch.randint(self.parts[part], (), generator=generator))
        else:
            index = int(torch.randint(len(self.datasets), (), generator=generator))
        shots, ways, inputs = self.shots, self.ways, self.datasets[index].inputs
        if self.fewest_shots is not None:
            enough = [s for s in range(self.fewest_shots, shots + 1) if len(self._usable(index, s)) >= self._least_ways]
            shots = uniform_int((self.fewest_shots, enough[-1]), generator)
        if self.fewest_ways is not None:
            most = min(ways, len(self._usable(index, shots)))
            ways = uniform_int((min(self.fewest_ways, most), most), generator)
        if self.inputs is not None:
            inputs = uniform_int((min(inputs, self.inputs[0]), min(inputs, self.inputs[1])), generator)
        return TaskShape(index, ways, shots, inputs)

    def draw(self, generator: Generator, shape: TaskShape | None = None) -> Task:
        """A task of ``shape``, drawn first unless given: classes, then an input permutation, then labels."""
        index, ways, shots, inputs = self.draw_shape(generator) if shape is None else shape
        usable = self._usable(index, shots)
        classes = usable[torch.randperm(len(usable), generator=generator)[:ways]]
        permutation = self._permutation(index, inputs, generator)
        rows = [self._rows[index][c] for c in classes.tolist()]
        true_labels = torch.repeat_interleave(torch.tensor([len(r) for r in rows]))
        labels = LABELLERS[self.labeller](true_labels, generator)
        return self._task(index, classes, permutation, shots, labels)

    def _permutation(self, index: int, inputs: int, generator: Generator) -> Tensor:
        """Which inputs of a data set a task has, in its order, int64 [inputs]."""
        width = self.datasets[index].inputs
        if not self.permute and inputs == width:
            return torch.arange(width)
        drawn = torch.randperm(width, generator=generator)[:inputs]
        return drawn if self.permute else drawn.sort().values

    def restore(self, state: dict[str, Tensor]) -> Task:
        """The task whose ``state()`` this is. Raises ValueError for a state that another source made."""
        index, classes, shots = int(state["dataset"]), state["classes"], int(state["shots"])
        if not 0 <= index < len(self.datasets):
            raise ValueError(f"got a task of data set {index}, expected 0 to {len(self.datasets) - 1}: other data?")
        dataset = self.datasets[index]
        usable = set(self._usable(index, shots).tolist())
        if not set(classes.tolist()) <= usable or not self._least_ways <= len(classes) <= self.ways:
            raise ValueError(
                f"{dataset.name}: got a task of classes {classes.tolist()}, expected {self._least_ways} to {self.ways} "
                "classes that all have enough examples: other data or settings?"
            )
        task = self._task(index, classes, state["permutation"], shots, state["labels"])
        if len(task.labels) != len(task.pool) or int(task.permutation.max()) >= dataset.inputs:
            raise ValueError(
                f"{dataset.name}: got a task of {len(task.labels)} examples and {task.inputs} inputs, "
                f"expected {len(task.pool)} and {dataset.inputs}: other data?"
            )
        return task

    def _task(self, index: int, classes: Tensor, permutation: Tensor, shots: int, labels: Tensor) -> Task:
        pool = torch.cat([self._rows[index][c] for c in classes.tolist()])
        return Task(self.datasets[index], classes, permutation, shots, self.queries, labels, pool, index, self._redraw)
