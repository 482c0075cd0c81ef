"""Judging clusterings: the adjusted Rand index of each method on the same sets.

Shapes: N points, D dimensions.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Generator

from evaluation.paired_tasks import EPISODE, NETWORK, paired_tasks, seeded
from evaluation.results import TaskAccuracies
from evaluation.statistics import RAND
from inner_loop.clustering import cluster
from tasks.data.reference_sets import ReferenceSet
from tasks.source import TaskSource
from update_rules.clustering.candidates import found_by
from update_rules.clustering.points import Labels, Points, scaled
from update_rules.contract import Rule

Method = Callable[[Points, int, Generator], Labels]
"""Points [N, D], how many clusters (0: nobody knows) and a random stream give the cluster [N] of each."""


class Score(Protocol):
    """What a method makes of a set, whose number of clusters is told or not, as a number; the larger the better."""

    def __call__(self, one: ReferenceSet, generator: Generator, *, told: bool = True) -> float:
        """The number of ``one``."""
        ...


SetsDone = Callable[[int, str], None]
"""Called with a number of sets just done by one method."""


def sets_of(source: TaskSource, sets: int, seed: int) -> Iterator[tuple[ReferenceSet, Generator]]:
    """The first ``sets`` whole sets of ``source`` under ``seed``, with a random stream for who clusters them."""
    for task in paired_tasks(source, sets, seed):
        episode, name = task.task.episode(task.generator(EPISODE)), task.task.dataset.name
        references = (episode.query_y.numpy(),)
        yield ReferenceSet(name, name, episode.query_x.double().numpy(), references), task.generator(NETWORK)


def score(method: Method, one: ReferenceSet, generator: Generator, *, told: bool = True) -> float:
    """The largest adjusted Rand index (Hubert and Arabie, 1985) over the references of ``one``.

    Where the number of clusters is ``told`` the method is run at that of each reference; else once. It sees points on
    one scale. Points of no cluster are clustered with the others and then left out.
    """
    x, start = scaled(one.x), generator.get_state()
    found: dict[int, Labels] = {}
    best = -1.0
    for labels in one.references:
        count = clusters_told(labels, told)
        if count not in found:
            generator.set_state(start)
            found[count] = method(x, count, generator)
        known = labels >= 0
        best = max(best, float(adjusted_rand_score(labels[known], found[count][known])))
    return best


def clusters_told(labels: Labels, told: bool) -> int:
    """How many clusters a method is told of, given a reference ``labels`` [N], -1 for none; 0 unless ``told``."""
    return len(np.unique(labels[labels >= 0])) if told else 0


def rule_method(rule: Rule, steps: int) -> Method:
    """Clustering by ``rule`` after ``steps`` inner steps."""

    def method(x: Points, clusters: int, generator: Generator) -> Labels:
        return cluster(rule, x, clusters, steps, generator).labels

    return method


def candidate_method(name: str) -> Method:
    """Clustering by the candidate ``name``, which has to be told how many clusters there are."""

    def method(x: Points, clusters: int, generator: Generator) -> Labels:
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        return found_by(name, x, clusters, seed)

    return method


def mean_scores(rule: Rule, source: TaskSource, *, points: Sequence[int], sets: int, seed: int) -> dict[int, float]:
    """The mean score of ``rule`` on ``sets`` sets of ``source`` after each of ``points`` inner steps.

    After none there is no partition yet, and the score is 0.
    """
    scores: dict[int, list[float]] = {step: [] for step in points}
    for one, generator in sets_of(source, sets, seed):
        for step in points:
            scores[step].append(score(rule_method(rule, step), one, generator) if step else 0.0)
    return {step: sum(found) / len(found) for step, found in scores.items()}


def judge(
    scores: Mapping[str, Score],
    sets: Sequence[ReferenceSet],
    *,
    seed: int,
    told: bool = True,
    readout: str = RAND,
    progress: SetsDone | None = None,
) -> list[TaskAccuracies]:
    """Each of ``scores``, by method, of every one of ``sets``, in the form of results: an entry for each part.

    Each set has a random stream of its own under ``seed``, the same for every method.
    """
    entries = []
    for part in dict.fromkeys(one.part for one in sets):
        some = [one for one in sets if one.part == part]
        digest = hashlib.sha256(f"{seed} {told}".encode())
        for one in some:
            for array in (one.x, *one.references):
                digest.update(np.ascontiguousarray(array).tobytes())
        for name, score_of in scores.items():
            found = []
            for place, one in enumerate(some):
                found.append(score_of(one, seeded(seed, place), told=told))
                if progress is not None:
                    progress(1, f"{part}, {name}")
            entries.append(_entry(name, part, seed, digest.hexdigest()[:16], readout, found))
    return entries


def _entry(method: str, part: str, seed: int, drawn: str, readout: str, scores: list[float]) -> TaskAccuracies:
    return {
        "method": method,
        "source": part,
        "seed": seed,
        "ways": 0,
        "shots": 0,
        "queries": 0,
        "size": None,
        "permute": False,
        "data": [],
        "drawn": drawn,
        "readout": readout,
        "setting": {},
        "diverged": 0,
        "accuracies": scores,
    }
