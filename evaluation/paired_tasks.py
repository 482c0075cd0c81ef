"""Evaluation tasks that every method sees alike: same classes, episode, starting network and unlabelled stream."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Generator, Tensor

from tasks.source import TaskSource
from tasks.task import Episode, Task
from tasks.views import fixed_views, views_of

UNLABELLED_EXAMPLES = 1000
"""At most so many unlabelled examples of a task's pool give batch-norm statistics and principal components."""

BATCHES_AT_ONCE = 10
"""Batches of a stream that are drawn together: a GPU changes many images in the time of a few.

Where a source redraws its images, this number decides what is drawn.
"""

TASK, EPISODE, UNLABELLED, NETWORK, STREAM, BASELINE, SET = range(7)
"""What randomness is for; each use has a stream of its own, so that methods cannot disturb each other.

BASELINE is for all that a hand-written method draws besides unlabelled batches: weights, noise, first centroids.
"""


def seeded(*numbers: int) -> Generator:
    """A fresh generator that ``numbers`` decide; the same every time."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0]))


@dataclass(frozen=True, eq=False)
class PairedTask:
    """Task number ``index`` of ``source`` under ``seed``: whatever is drawn for it depends on these three alone."""

    source: TaskSource
    seed: int
    index: int
    shots: tuple[int, ...] = ()
    """Labelled examples of each class of every episode that will be drawn of it; () is the source's number alone."""

    def generator(self, purpose: int) -> Generator:
        """A fresh generator for one use of randomness; the same every time."""
        return seeded(self.seed, self.index, purpose)

    @cached_property
    def task(self) -> Task:
        """The task: classes and input permutation; unless the source is transductive, without all episodes' queries."""
        task = self.source.draw(self.generator(TASK))
        if task.transductive:
            return task
        picked = [task.pick(self.generator(EPISODE), shots).query for shots in self.shots or (task.shots,)]
        return task.without(torch.cat(picked).unique())

    @cached_property
    def episode(self) -> Episode:
        """Its support and query examples."""
        return self.task.episode(self.generator(EPISODE))

    @cached_property
    def unlabelled(self) -> Tensor:
        """Different examples of the pool, [n, D] with n up to UNLABELLED_EXAMPLES."""
        examples = min(len(self.task.seen), UNLABELLED_EXAMPLES)
        return self.task.unlabelled(self.generator(UNLABELLED), 1, examples)[0]

    def fixed_views(self, names: Collection[str], episode: Episode) -> dict[str, Tensor]:
        """Of the views ``names`` those that go with ``episode``, one that the task has drawn for its EPISODE."""
        if not any(view.fixed for view in views_of(names)):
            return {}
        shots, queries = (len(y) // self.task.ways for y in (episode.support_y, episode.query_y))
        picked = self.task.pick(self.generator(EPISODE), shots, queries)
        return fixed_views(self.task, names, picked, episode, self.generator(SET))

    def stream(self, batch: int, device: torch.device | None = None) -> Iterator[Tensor]:
        """Unlabelled batches [B, D] without end, for inner steps, on ``device`` (None: the CPU)."""
        generator = self.generator(STREAM)
        while True:
            yield from self.task.unlabelled(generator, BATCHES_AT_ONCE, batch, device)


def paired_tasks(source: TaskSource, tasks: int, seed: int, shots: tuple[int, ...] = ()) -> Iterator[PairedTask]:
    """The first ``tasks`` evaluation tasks of ``source`` under ``seed``, one after the other to save memory."""
    return (PairedTask(source, seed, index, shots) for index in range(tasks))
