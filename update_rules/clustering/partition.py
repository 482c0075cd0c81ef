"""From chances that points belong together to a partition, into a given number of clusters or as many as fit best.

Shapes: N points.
"""

from collections.abc import Iterator

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from update_rules.clustering.points import Labels, Points

ROUNDS = 10
"""Times at most that points move to the cluster they belong to most."""

MOST = 60
"""Clusters at most where nobody knows how many."""


def expected_index(chances: Points, labels: Labels) -> float:
    """The adjusted Rand index of ``labels`` [N] to be expected where pairs belong together with ``chances`` [N, N]."""
    together = labels[:, None] == labels[None]
    others = ~np.eye(len(labels), dtype=bool)
    agreed, found, belong = chances[together & others].sum(), float((together & others).sum()), chances[others].sum()
    by_chance = found * belong / others.sum()
    room = (found + belong) / 2 - by_chance
    return float((agreed - by_chance) / room) if room > 0 else 0.0


def partition(chances: Points, clusters: int) -> Labels:
    """The clusters [N] of N points, called 0 to ``clusters`` - 1, that fit ``chances`` [N, N] best of some.

    These are the cuts of average linkage and, by the rows of ``chances``, of Ward's, with every point moved on to the
    cluster that it belongs to most. Of 0 clusters it is the best of all numbers of them up to MOST.
    """
    n = len(chances)
    trees = list(_trees(chances))
    counts = [clusters] if clusters else range(2, min(MOST, n) + 1)
    best, fit = np.zeros(n, np.int64), 0.0 if not clusters else -np.inf
    for count in counts:
        for tree in trees:
            cut = fcluster(tree, count, "maxclust").astype(np.int64) - 1
            for labels in (cut, moved_on(chances, cut)):
                index = expected_index(chances, labels)
                if index > fit:
                    best, fit = labels, index
    return best


def _trees(chances: Points) -> Iterator[Points]:
    apart = 1 - (chances + chances.T) / 2
    np.fill_diagonal(apart, 0)
    yield linkage(squareform(apart, checks=False), "average")
    yield linkage(chances, "ward")


def moved_on(chances: Points, labels: Labels) -> Labels:
    """``labels`` [N] after every point has gone to the cluster of the highest mean of ``chances`` [N, N], some times.

    No cluster loses its last point.
    """
    chances = chances.copy()
    np.fill_diagonal(chances, 0)
    clusters = int(labels.max()) + 1
    for _ in range(ROUNDS):
        member = np.eye(clusters)[labels]
        beside = member.sum(0) - member
        found = ((chances @ member) / np.maximum(beside, 1)).argmax(1)
        if (found == labels).all() or len(np.unique(found)) < clusters:
            break
        labels = found
    return labels
