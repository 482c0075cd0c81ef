"""Judging clusterings: the adjusted Rand index of each method on the same sets.

Shapes: N points, D dimensions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from torch import Generator

from evaluation.paired_tasks import EPISODE, NETWORK, paired_tasks
from inner_loop.clustering import Labels, Points, cluster
from tasks.source import TaskSource
from update_rules.contract import Rule

Method = Callable[[Points, int, Generator], Labels]
"""Points [N, D], how many clusters (0: nobody knows) and a random stream give the cluster [N] of each."""


@dataclass(frozen=True)
class ReferenceSet:
    """Points whose clusters somebody has told, maybe in several ways."""

    name: str
    x: Points
    references: tuple[NDArray[np.int64], ...]
    """[N] each: a cluster from 0, or -1 for a point of none, which no score looks at."""


def sets_of(source: TaskSource, sets: int, seed: int) -> Iterator[tuple[ReferenceSet, Generator]]:
    """The first ``sets`` whole sets of ``source`` under ``seed``, with a random stream for who clusters them."""
    for task in paired_tasks(source, sets, seed):
        episode = task.task.episode(task.generator(EPISODE))
        one = ReferenceSet(task.task.dataset.name, episode.query_x.double().numpy(), (episode.query_y.numpy(),))
        yield one, task.generator(NETWORK)


def score(method: Method, one: ReferenceSet, generator: Generator, *, told: bool = True) -> float:
    """The largest adjusted Rand index (Hubert and Arabie, 1985) over the references of ``one``.

    Where the number of clusters is ``told`` the method is run at that of each reference; else once. Points of no
    cluster are clustered with the others and then left out.
    """
    counts = [int(labels.max()) + 1 if told else 0 for labels in one.references]
    found = {count: method(one.x, count, generator) for count in dict.fromkeys(counts)}
    return max(
        float(adjusted_rand_score(labels[labels >= 0], found[count][labels >= 0]))
        for count, labels in zip(counts, one.references, strict=True)
    )


def rule_method(rule: Rule, steps: int) -> Method:
    """Clustering by ``rule`` after ``steps`` inner steps."""

    def method(x: Points, clusters: int, generator: Generator) -> Labels:
        return cluster(rule, x, clusters, steps, generator)

    return method


def mean_scores(rule: Rule, source: TaskSource, *, points: Sequence[int], sets: int, seed: int) -> dict[int, float]:
    """The mean score of ``rule`` on ``sets`` sets of ``source`` after each of ``points`` inner steps above 0.

    After none there is no partition yet, and the score is 0.
    """
    scores: dict[int, list[float]] = {step: [] for step in points}
    for one, generator in sets_of(source, sets, seed):
        start = generator.get_state()
        for step in points:
            generator.set_state(start)
            scores[step].append(score(rule_method(rule, step), one, generator) if step else 0.0)
    return {step: sum(found) / len(found) for step, found in scores.items()}
