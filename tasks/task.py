"""A task: one problem over one data set, its n unlabelled examples of D inputs and its episodes.

S = ways · shots are the support examples of an episode, and Q = ways · queries its queries. An episode of a whole set
has no support, and as queries so many ``points`` of the set.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Generator, Tensor

from tasks.augmentations import Augmentation, as_they_are
from tasks.dataset import Dataset

if TYPE_CHECKING:
    from tasks.labellers.contract import Labeller


class Episode(NamedTuple):
    """Labelled examples of one task: support and query are disjoint and in random order; few-shot, class-balanced.

    In a whole set the label of an example of no class is -1.
    """

    support_x: Tensor  # [S, D] float32
    support_y: Tensor  # [S] int64 in 0..ways-1
    query_x: Tensor  # [Q, D] float32
    query_y: Tensor  # [Q] int64 in 0..ways-1


class Picked(NamedTuple):
    """Which rows of the data set an episode shows, and under which labels; all int64, [S] and [Q]."""

    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor


def in_random_order(rows: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """The ``rows`` [ways, k] of each class and their classes, [ways · k] each: the place of one says nothing of it."""
    order = torch.randperm(rows.numel(), generator=generator)
    return rows.reshape(-1)[order], order // rows.shape[1]


class TaskShape(NamedTuple):
    """What must agree for tasks to run as one batch; ``dataset`` is its place in the task source."""

    dataset: int
    ways: int
    shots: int
    inputs: int
    points: int = 0
    """Examples of a whole set; 0 for a few-shot task."""


@dataclass(frozen=True, eq=False)
class Task:
    """One problem over one data set. Labels are in episodes only; unlabelled batches hold inputs alone."""

    dataset: Dataset
    classes: Tensor
    """[ways] int64: the data set's classes in this task."""
    permutation: Tensor
    """[D] int64: input i of the task is input permutation[i] of the data set, which may have more inputs."""
    shots: int
    queries: int
    labels: Tensor
    """[n] int64 in 0..ways-1: the label of each pool example; in a whole set -1 for one of no class."""
    pool: Tensor
    """[n] int64: the rows of the data set that belong to the classes, class by class."""
    labeller: "Labeller"
    """Says what episodes are of."""
    dataset_index: int = 0
    """The place of the data set in its task source."""
    redraw: Augmentation = as_they_are
    """What becomes of an image each time that it is drawn."""
    transductive: bool = True
    """Whether unlabelled batches may hold queries of the episode that they go with."""
    unlabelled_shots: int = 0
    """Examples of each class in the set without labels."""
    distractors: int = 0
    """Other classes in that set, of as many examples each."""
    swapped: tuple[str, ...] = ()
    """Views without labels that come from another task: a control."""
    another_task: Callable[["Task", Generator], "Task"] | None = None
    """Draws it."""
    points: int = 0
    """Examples of a whole set; 0 for a few-shot task."""
    told: bool = True
    """Whether a rule is told how many classes there are."""
    left_out: Tensor | None = None
    """Rows of the data set that unlabelled batches leave out, int64; queries of episodes must be among them."""

    @property
    def inputs(self) -> int:
        """D, the width of an example."""
        return len(self.permutation)

    @property
    def ways(self) -> int:
        """The number of classes in the task."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """(H, W) or (H, W, 3) where the inputs are the pixels of an image in their order, else None."""
        shape = self.dataset.image_shape
        return shape if shape and torch.equal(self.permutation, torch.arange(self.dataset.inputs)) else None

    @cached_property
    def members(self) -> list[Tensor]:
        """For each label, the rows of the data set that carry it."""
        return [self.pool[self.labels == label] for label in range(self.ways)]

    @cached_property
    def seen(self) -> Tensor:
        """The rows of the data set that unlabelled batches are drawn from, int64: the pool without ``left_out``."""
        return self.pool if self.left_out is None else self.pool[~torch.isin(self.pool, self.left_out)]

    def without(self, rows: Tensor) -> "Task":
        """The same task, whose unlabelled batches leave out ``rows``, int64. Raises ValueError where none is left."""
        task = replace(self, left_out=rows)
        if not len(task.seen):
            raise ValueError(
                f"{self.dataset.name}: all {len(self.pool)} examples of a task are queries, which leaves none without "
                "labels to learn from; lower queries or set tasks.transductive=true"
            )
        return task

    def drawn(self, rows: Tensor, generator: Generator, device: torch.device | None) -> Tensor:
        """Rows [...] of the data set [..., inputs of the data set] as they are drawn, on ``device``, in its order."""
        x = self.dataset.x[rows].to(device)
        if self.dataset.image_shape is None:
            return x
        return self.redraw(x.view(-1, *self.dataset.image_shape), generator).reshape(x.shape)

    def shown(self, rows: Tensor, generator: Generator, device: torch.device | None) -> Tensor:
        """The task's inputs [..., D] for rows [...] of the data set, as they are drawn, on ``device``."""
        return self.drawn(rows, generator, device)[..., self.permutation.to(device)]

    def unlabelled(self, generator: Generator, steps: int, batch: int, device: torch.device | None = None) -> Tensor:
        """``steps`` batches [steps, batch, D] float32 drawn uniformly from ``seen``, without repeats where that can be.

        They lie on ``device``, None for the CPU; but for rounding, what is drawn does not depend on it.
        """
        n = len(self.seen)
        if n >= batch:
            picks = [torch.randperm(n, generator=generator)[:batch] for _ in range(steps)]
            index = torch.stack(picks) if picks else torch.empty(0, batch, dtype=torch.int64)
        else:
            index = torch.randint(n, (steps, batch), generator=generator)
        return self.shown(self.seen[index], generator, device)

    def unlabelled_set(self, picked: Picked, generator: Generator, device: torch.device | None = None) -> Tensor:
        """Examples [M, D] beside the episode ``picked``, in random order: of each class and of ``distractors`` others.

        M = (ways + distractors) · unlabelled_shots. Raises ValueError where there are too few, or none.
        """
        where = f"{self.dataset.name}: got unlabelled_shots={self.unlabelled_shots} and distractors={self.distractors}"
        if self.unlabelled_shots < 1:
            raise ValueError(f"{where}, expected unlabelled_shots of 1 or more for a set of examples without labels")
        taken = torch.cat([picked.support, picked.query])
        left = [rows[~torch.isin(rows, taken)] for rows in self.members]
        if min(map(len, left)) < self.unlabelled_shots:
            raise ValueError(
                f"{where}, but {min(map(len, left))} examples of a class are left beside {len(picked.support_y)} "
                f"support and {len(picked.query_y)} query examples; lower unlabelled_shots, shots or queries"
            )
        if self.distractors:
            others = [
                rows for rows in self.labeller.rows(self.dataset, self._others()) if len(rows) >= self.unlabelled_shots
            ]
            if len(others) < self.distractors:
                raise ValueError(f"{where}, but {len(others)} other classes have as many examples; lower distractors")
            chosen = torch.randperm(len(others), generator=generator)[: self.distractors].tolist()
            left += [others[place] for place in chosen]
        rows = torch.cat(
            [some[torch.randperm(len(some), generator=generator)[: self.unlabelled_shots]] for some in left]
        )
        return self.shown(rows[torch.randperm(len(rows), generator=generator)], generator, device)

    def _others(self) -> Tensor:
        every = torch.arange(self.dataset.classes)
        return every[~torch.isin(every, self.classes)]

    def another(self, generator: Generator) -> "Task":
        """Another task of the same shape. Raises ValueError where there is none."""
        assert self.another_task is not None
        return self.another_task(self, generator)

    def pick(self, generator: Generator, shots: int | None = None, queries: int | None = None) -> Picked:
        """The rows of a fresh episode; of a whole set, ``points`` at random, whatever else is asked for.

        Raises ValueError for too few examples, or queries among unlabelled ones.
        """
        if self.points:
            places, none = torch.randperm(len(self.pool), generator=generator)[: self.points], self.pool[:0]
            return Picked(none, none, self.pool[places], self.labels[places])
        shots = self.shots if shots is None else shots
        queries = self.queries if queries is None else queries
        picked = self.labeller.pick(self, generator, shots, queries)
        if self.left_out is not None and not torch.isin(picked.query, self.left_out).all():
            raise ValueError(
                f"{self.dataset.name}: got an episode of {shots} shots and {queries} queries with queries among the "
                "unlabelled examples, expected the one that these leave out; keep to the source's numbers, or set "
                "tasks.transductive=true"
            )
        return picked

    def episode_of(self, picked: Picked, generator: Generator, device: torch.device | None = None) -> Episode:
        """The examples of ``picked`` as they are drawn, on ``device`` (None: the CPU)."""
        return Episode(*(part.to(device) for part in self.labeller.episode(self, picked, generator, device)))

    def episode(
        self,
        generator: Generator,
        shots: int | None = None,
        queries: int | None = None,
        device: torch.device | None = None,
    ) -> Episode:
        """A fresh draw of labelled examples: ``pick``, and then ``episode_of``. Raises ValueError as ``pick`` does."""
        return self.episode_of(self.pick(generator, shots, queries), generator, device)

    def state(self) -> dict[str, Tensor]:
        """What ``TaskSource.restore`` needs to make this task again; all int64 tensors."""
        return {
            "dataset": torch.tensor(self.dataset_index),
            "classes": self.classes,
            "permutation": self.permutation,
            "shots": torch.tensor(self.shots),
            "labels": self.labels,
            **({"points": torch.tensor(self.points), "told": torch.tensor(self.told)} if self.points else {}),
        }
