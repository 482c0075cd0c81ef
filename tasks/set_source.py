"""Tasks that are whole sets to be clustered: many examples of a data set at once, and none with a label."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from common.draws import uniform_int
from tasks.dataset import NOISE, Dataset, clusters_of, fitting
from tasks.labellers.contract import Sizes
from tasks.source import TaskSource
from tasks.task import Task, TaskShape


@dataclass(frozen=True, eq=False)
class SetSource(TaskSource):
    """Draws a random number of examples between ``points`` = (fewest, most) of a data set, or all of a smaller one.

    They are of all of its classes, of ``ways`` of them at random if there are more, and of NOISE, under the label -1.
    Of a share ``untold`` of sets a rule is not told how many classes there are. An episode has no support; shots and
    queries count for nothing. Raises ValueError as ``TaskSource`` does, and for sets of fewer examples than ``points``
    or of one class.
    """

    points: tuple[int, int] = (50, 200)
    untold: float = 0.0

    def _check_sizes(self) -> None:
        fewest, most = self.points
        if not 2 <= fewest <= most:
            raise ValueError(f"got points={list(self.points)}, expected rising numbers of 2 or more")

    def _check(self, dataset: Dataset) -> None:
        if len(dataset) < self.points[0]:
            raise ValueError(
                f"{dataset.name}: {len(dataset)} examples, expected points={self.points[0]} or more; lower points"
            )
        if len(clusters_of(dataset)) < 2:
            raise ValueError(f"{dataset.name}: one class, expected two or more to be told apart")

    @cached_property
    def sizes(self) -> Sizes:
        """The same, but that a set may have as few as two classes, whatever ``ways`` say."""
        return super().sizes._replace(ways=(2, self.ways))

    @property
    def fingerprint(self) -> str:
        """The same, over ``points`` and ``untold`` too."""
        return f"{super().fingerprint} points {self.points} {self.untold}"

    def _usable(self, index: int, shots: int) -> Tensor:
        return clusters_of(self.datasets[index])

    def draw_shape(self, generator: Generator) -> TaskShape:
        """A part uniformly, one of its data sets uniformly, then how many points."""
        index = self._draw_index(generator)
        dataset, points = self.datasets[index], uniform_int(self.points, generator)
        ways = min(self.ways, len(self._usable(index, 0)))
        return TaskShape(index, ways, 0, dataset.inputs, min(points, len(dataset)))

    def draw(self, generator: Generator, shape: TaskShape | None = None) -> Task:
        """A set of ``shape``, drawn first unless given."""
        shape = self.draw_shape(generator) if shape is None else shape
        task = super().draw(generator, shape)
        told = float(torch.rand((), generator=generator)) >= self.untold
        return replace(task, points=min(shape.points, len(task.pool)), told=told)

    def restore(self, state: dict[str, Tensor]) -> Task:
        """The set whose ``state()`` this is. Raises ValueError for a state that another source made."""
        return replace(super().restore(state), points=int(state["points"]), told=bool(state["told"]))

    def _task(self, index: int, classes: Tensor, permutation: Tensor, shots: int, labels: Tensor) -> Task:
        """The task with what its data set has of NOISE; ``labels`` are of the others, or of all of them."""
        task, dataset = super()._task(index, classes, permutation, shots, labels), self.datasets[index]
        if NOISE not in dataset.class_names:
            return task
        noise = dataset.rows_by_class[dataset.class_names.index(NOISE)]
        if len(labels) == len(task.pool):
            labels = torch.cat([labels, torch.full_like(noise, -1)])
        return replace(task, pool=torch.cat([task.pool, noise]), labels=labels)


def large_enough(datasets: Sequence[Dataset], points: int) -> list[Dataset]:
    """Those of several ``datasets`` with ``points`` examples or more and two classes, with a notice of how many lack.

    One alone is as it is. Raises ValueError where none is large enough.
    """
    return fitting(
        datasets,
        lambda dataset: len(dataset) >= points and len(clusters_of(dataset)) > 1,
        (f"{points} examples of two classes", f"{points} examples or two classes"),
        "points",
    )
