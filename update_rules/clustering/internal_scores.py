"""What a partition looks like from inside, without labels: numbers by which a better one may be told.

Shapes: N points, D dimensions, A partitions of one set, F scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from update_rules.clustering.points import Labels, Points

SCORES = (
    *(
        "silhouette",
        "explained",
        "calinski_harabasz",
        "davies_bouldin",
        "near",
        "gap",
        "mean_gap",
        "widest",
        "gaussian",
    ),
    *("largest", "smallest", "evenness", "agreement", "best_agreement"),
)
"""The scores of a partition, in their order."""

NEAR = 5
"""Neighbours that are to be of a point's own cluster, and the one whose distance says how dense a set is there."""

LEAST = 1e-6
"""The length of an edge between equal points: one of 0 is none."""

RIDGE = 1e-3
"""Added to the variances of a cluster, on the scale of the set, when its logarithmic likelihood is taken."""


class Geometry(NamedTuple):
    """What all partitions of a set share."""

    x: Points
    distance: Points
    neighbours: NDArray[np.int64]
    """[N, NEAR]."""
    edges: NDArray[np.int64]
    """[N - 1, 2]: the minimum spanning tree of distances that know how dense the set is (Campello et al., 2013)."""
    lengths: Points


def geometry(x: Points) -> Geometry:
    """The geometry of the points ``x`` [N, D], N of 2 or more."""
    distance = squareform(pdist(x))
    order = distance.argsort(1, kind="stable")
    near = min(NEAR, len(x) - 1)
    core = np.take_along_axis(distance, order, 1)[:, near]
    reach = np.maximum(distance, np.maximum(core[:, None], core[None])) + LEAST
    np.fill_diagonal(reach, 0)
    tree = minimum_spanning_tree(reach).tocoo()
    return Geometry(x, distance, order[:, 1 : near + 1], np.stack([tree.row, tree.col], 1), tree.data)


def internal_scores(found: Geometry, partitions: list[Labels]) -> Points:
    """The SCORES [A, F] of each of ``partitions``: finite, the larger ones mostly of better partitions.

    A partition that has one cluster only gets the least of what others could have.
    """
    agreement, rows = rand_indices(partitions), []
    for place, labels in enumerate(partitions):
        others = np.delete(agreement[place], place) if len(partitions) > 1 else np.zeros(1)
        rows.append(
            [*_own(found, np.unique(labels, return_inverse=True)[1]), float(others.mean()), float(others.max())]
        )
    return np.nan_to_num(np.array(rows), posinf=5, neginf=-5).clip(-10, 10)


def rand_indices(partitions: Sequence[Labels]) -> Points:
    """The adjusted Rand index (Hubert and Arabie, 1985) of every two of ``partitions``, [A, A]."""
    members = [np.eye(int(labels.max()) + 1)[labels] for labels in partitions]
    ends = np.cumsum([0, *(member.shape[1] for member in members)])[:-1]
    every = np.concatenate(members, 1)
    squares = np.add.reduceat(np.add.reduceat((every.T @ every) ** 2, ends, 0), ends, 1)
    n = len(partitions[0])
    both = (squares - n) / 2
    own = np.diag(both)
    by_chance = own[:, None] * own[None] / (n * (n - 1) / 2)
    room = (own[:, None] + own[None]) / 2 - by_chance
    return np.where(room > 0, (both - by_chance) / np.where(room > 0, room, 1), 1.0)


def _own(found: Geometry, labels: Labels) -> list[float]:
    """The scores of one partition into clusters 0, 1, ... but how it agrees with others."""
    n, k = len(labels), int(labels.max()) + 1
    member = np.eye(k)[labels]
    counts = member.sum(0)
    shares = counts / n
    evenness = float(-(shares * np.log(shares)).sum() / np.log(max(k, 2)))
    sizes = [float(shares.max()), float(np.log(shares.min() * k + 1e-3)), evenness]
    if k < 2:
        return [-1.0, 0.0, -3.0, -3.0, 1.0, -3.0, -3.0, -3.0, _likelihood(found.x, labels), *sizes]
    sums = found.distance @ member
    own = sums[np.arange(n), labels] / np.maximum(counts[labels] - 1, 1)
    means = sums / counts
    means[np.arange(n), labels] = np.inf
    other = means.min(1)
    single = counts[labels] == 1
    width = np.where(single, 0, (other - own) / np.maximum(np.maximum(own, other), 1e-12))
    middles = (member.T @ found.x) / counts[:, None]
    within = float(((found.x - middles[labels]) ** 2).sum())
    whole = float(((found.x - found.x.mean(0)) ** 2).sum())
    explained = 1 - within / max(whole, 1e-12)
    ratio = np.log(max(whole - within, 1e-9) / max(within, 1e-9) * max(n - k, 1) / (k - 1)) / 3
    spread = np.array([np.linalg.norm(found.x[labels == c] - middles[c], axis=1).mean() for c in range(k)])
    apart = squareform(pdist(middles)) + np.diag(np.full(k, np.inf))
    davies = float(((spread[:, None] + spread[None]) / np.maximum(apart, 1e-9)).max(1).mean())
    near = float((labels[found.neighbours] == labels[:, None]).mean())
    crossing = labels[found.edges[:, 0]] != labels[found.edges[:, 1]]
    usual = float(np.median(found.lengths)) + 1e-9
    cut, kept = found.lengths[crossing], found.lengths[~crossing]
    widest = float(kept.max()) if len(kept) else usual
    gap = float(np.log((cut.min() + 1e-9) / (widest + 1e-9))) if len(cut) else -3.0
    mean_gap = float(np.log((cut.mean() + 1e-9) / (kept.mean() + 1e-9))) if len(cut) and len(kept) else -3.0
    return [
        float(width.mean()),
        explained,
        float(ratio),
        -float(np.log(davies + 1e-9)),
        near,
        gap,
        mean_gap,
        -float(np.log(widest / usual + 1e-9)),
        _likelihood(found.x, labels),
        *sizes,
    ]


def _likelihood(x: Points, labels: Labels) -> float:
    """The mean logarithmic likelihood of each point and dimension under a Gaussian of its cluster, and its share."""
    n, d = x.shape
    total = 0.0
    for one in np.unique(labels):
        some = x[labels == one]
        share = len(some) / n
        middle = some.mean(0)
        if len(some) > 2 * d and d <= 64:
            covariance = np.cov(some.T, bias=True).reshape(d, d) + RIDGE * np.eye(d)
            volume = float(np.linalg.slogdet(covariance)[1])
        else:
            volume = d * float(np.log(((some - middle) ** 2).mean() + RIDGE))
        total += share * (np.log(share) - 0.5 * volume - 0.5 * d)
    return total / d
