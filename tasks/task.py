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

from tasks.dataset import Dataset
from tasks.labellers import LABELLERS


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


@dataclass(frozen=True, eq=False)
class Task:
    """One few-shot problem over one data set. Labels are in episodes only; unlabelled batches hold inputs alone."""

    dataset: Dataset
    classes: Tensor
    """[ways] int64: the data set's classes in this task."""
    permutation: Tensor
    """[D] int64: input i of the task is input permutation[i] of the data set."""
    shots: int
    queries: int
    labels: Tensor
    """[n] int64 in 0..ways-1: the label of each pool example."""
    pool: Tensor
    """[n] int64: the rows of the data set that belong to the classes, class by class."""
    dataset_index: int = 0
    """The place of the data set in its task source."""

    @property
    def inputs(self) -> int:
        """D, the width of an example."""
        return self.dataset.inputs

    @property
    def ways(self) -> int:
        """The number of classes in the task."""
        return len(self.classes)

    @cached_property
    def _members(self) -> list[Tensor]:
        """For each label, the rows of the data set that carry it."""
        return [self.pool[self.labels == label] for label in range(self.ways)]

    def _inputs(self, rows: Tensor) -> Tensor:
        """The task's inputs [..., D] for rows [...] of the data set."""
        return self.dataset.x[rows][..., self.permutation]

    def unlabelled(self, generator: Generator, steps: int, batch: int) -> Tensor:
        """``steps`` batches of unlabelled examples, [steps, batch, D] float32, drawn uniformly from the pool.

        Within a batch no example comes twice, unless the pool is smaller than a batch.
        """
        n = len(self.pool)
        if n >= batch:
            picks = [torch.randperm(n, generator=generator)[:batch] for _ in range(steps)]
            index = torch.stack(picks) if picks else torch.empty(0, batch, dtype=torch.int64)
        else:
            index = torch.randint(n, (steps, batch), generator=generator)
        return self._inputs(self.pool[index])

    def episode(self, generator: Generator, shots: int | None = None, queries: int | None = None) -> Episode:
        """A fresh draw of labelled examples, by default as many as the task states.

        Raises ValueError if a label has fewer than ``shots + queries`` examples.
        """
        shots = self.shots if shots is None else shots
        queries = self.queries if queries is None else queries
        fewest = min(len(rows) for rows in self._members)
        if min(shots, queries) < 1 or shots + queries > fewest:
            raise ValueError(
                f"{self.dataset.name}: got {shots} shots and {queries} queries, expected 1 or more of each and at most "
                f"{fewest} together, the examples of the smallest class"
            )
        drawn = torch.stack(
            [rows[torch.randperm(len(rows), generator=generator)[: shots + queries]] for rows in self._members]
        )
        labels = torch.arange(self.ways)[:, None].expand_as(drawn)
        # Random order, so that the place of an example says nothing about its class.
        support = torch.randperm(self.ways * shots, generator=generator)
        query = torch.randperm(self.ways * queries, generator=generator)
        return Episode(
            self._inputs(drawn[:, :shots].reshape(-1)[support]),
            labels[:, :shots].reshape(-1)[support],
            self._inputs(drawn[:, shots:].reshape(-1)[query]),
            labels[:, shots:].reshape(-1)[query],
        )

    def state(self) -> dict[str, Tensor]:
        """What ``TaskSource.restore`` needs to make this task again; all int64 tensors."""
        return {
            "dataset": torch.tensor(self.dataset_index),
            "classes": self.classes,
            "permutation": self.permutation,
            "labels": self.labels,
        }


@dataclass(frozen=True, eq=False)
class TaskSource:
    """Draws tasks of ``ways`` classes from ``datasets``, whose widths may differ.

    ``permute`` gives each task its own fixed permutation of the inputs; ``labeller`` is a name in
    ``labellers.LABELLERS``. Classes with fewer than ``shots + queries`` examples are left out. Raises ValueError for
    no data sets, ways below 2, shots or queries below 1, an unknown labeller, and a data set with fewer than ``ways``
    usable classes.
    """

    datasets: tuple[Dataset, ...]
    ways: int
    shots: int
    queries: int
    permute: bool
    labeller: str = "true"

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError("got no data sets, expected at least one")
        if self.ways < 2:
            raise ValueError(
                f"got ways={self.ways}, expected 2 or more: a task with one class has nothing to tell apart"
            )
        if self.shots < 1 or self.queries < 1:
            raise ValueError(f"got shots={self.shots} and queries={self.queries}, expected 1 or more of each")
        if self.labeller not in LABELLERS:
            near = get_close_matches(self.labeller, LABELLERS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"got labeller {self.labeller!r}, expected one of {', '.join(LABELLERS)}{hint}")
        for dataset, rows in zip(self.datasets, self._rows, strict=True):
            self._check_classes(dataset, len(rows))

    def _check_classes(self, dataset: Dataset, usable: int) -> None:
        """Raise ValueError unless ``dataset`` has enough classes and enough of them are large enough."""
        if dataset.classes < self.ways:
            raise ValueError(
                f"{dataset.name}: {dataset.classes} {'class' if dataset.classes == 1 else 'classes'}, "
                f"expected at least ways={self.ways}; lower ways or take data with more classes"
            )
        if usable < self.ways:
            counts = torch.bincount(dataset.y)
            smallest = int(counts.argmin())
            raise ValueError(
                f"{dataset.name}: {usable} of {dataset.classes} classes have the {self.shots + self.queries} examples "
                f"that shots={self.shots} and queries={self.queries} take (class {dataset.class_names[smallest]!r} has "
                f"{int(counts[smallest])}), expected at least ways={self.ways} such classes; lower shots or queries"
            )

    @cached_property
    def _rows(self) -> list[dict[int, Tensor]]:
        """For each data set, the rows of each class that has enough of them."""
        rows = []
        for dataset in self.datasets:
            counts = torch.bincount(dataset.y).tolist()
            by_class = torch.argsort(dataset.y, stable=True).split(counts)
            enough = self.shots + self.queries
            rows.append({c: members for c, members in enumerate(by_class) if len(members) >= enough})
        return rows

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the data sets and every setting that decides what is drawn."""
        settings = (self.ways, self.shots, self.queries, self.permute, self.labeller)
        digest = hashlib.sha256(repr(settings).encode())
        for dataset in self.datasets:
            digest.update(dataset.fingerprint.encode())
        return digest.hexdigest()

    def draw(self, generator: Generator) -> Task:
        """A task: a data set uniformly, then ``ways`` of its usable classes, then an input permutation, then labels."""
        index = int(torch.randint(len(self.datasets), (), generator=generator))
        usable = torch.tensor(list(self._rows[index]))
        classes = usable[torch.randperm(len(usable), generator=generator)[: self.ways]]
        inputs = self.datasets[index].inputs
        permutation = torch.randperm(inputs, generator=generator) if self.permute else torch.arange(inputs)
        rows = [self._rows[index][c] for c in classes.tolist()]
        true_labels = torch.repeat_interleave(torch.tensor([len(r) for r in rows]))
        labels = LABELLERS[self.labeller](true_labels, generator)
        return self._task(index, classes, permutation, labels)

    def restore(self, state: dict[str, Tensor]) -> Task:
        """The task whose ``state()`` this is. Raises ValueError for a state that another source made."""
        index, classes = int(state["dataset"]), state["classes"]
        if not 0 <= index < len(self.datasets):
            raise ValueError(f"got a task of data set {index}, expected 0 to {len(self.datasets) - 1}: other data?")
        dataset = self.datasets[index]
        missing = [c for c in classes.tolist() if c not in self._rows[index]]
        if missing or len(classes) != self.ways:
            raise ValueError(
                f"{dataset.name}: got a task of classes {classes.tolist()}, expected {self.ways} classes that all have "
                f"enough examples: other data or settings?"
            )
        task = self._task(index, classes, state["permutation"], state["labels"])
        if len(task.labels) != len(task.pool) or len(task.permutation) != task.inputs:
            raise ValueError(
                f"{dataset.name}: got a task of {len(task.labels)} examples and {len(task.permutation)} inputs, "
                f"expected {len(task.pool)} and {task.inputs}: other data?"
            )
        return task

    def _task(self, index: int, classes: Tensor, permutation: Tensor, labels: Tensor) -> Task:
        pool = torch.cat([self._rows[index][c] for c in classes.tolist()])
        dataset = self.datasets[index]
        return Task(dataset, classes, permutation, self.shots, self.queries, labels, pool, index)
