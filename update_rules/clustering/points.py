"""What clusterers share: points on one scale, and labels of the nearest of them.

Shapes: N and M points, D dimensions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Points = NDArray[np.float64]
"""[N, D], or other numbers of N points."""

Labels = NDArray[np.int64]
"""[N]: a cluster from 0 for each point."""


def scaled(x: Points) -> Points:
    """``x`` [N, D] moved and divided by one number, so that all columns together have mean 0 and variance 1."""
    largest = float(np.abs(x).max(initial=0))
    if largest > 0:
        x = np.ldexp(x, -int(np.frexp(largest)[1]))  # exact, so that squares neither overflow nor vanish
    x = x - x.mean(0)
    spread = float(np.sqrt((x**2).mean()))
    return x / spread if spread > 0 else x


def own_order(x: Points) -> Labels:
    """An order [N] of the points ``x`` [N, D] that is theirs, not the one they came in, so that ties fall out alike."""
    return np.lexsort(x.T[::-1])


def few_different(x: Points, clusters: int) -> Labels | None:
    """The clusters [N] of ``x`` [N, D] where all points are equal, or no more than ``clusters`` differ; else None."""
    different, labels = np.unique(x, axis=0, return_inverse=True)
    return labels.reshape(-1) if len(different) <= max(clusters, 1) else None


def nearest(x: Points, labels: Labels, others: Points) -> Labels:
    """The label of the nearest of the points ``x`` [N, D] to each of ``others`` [M, D]: int64 [M]."""
    found: Labels = labels[cKDTree(x).query(others)[1]]
    return found


def rejoined(x: Points, labels: Labels) -> Labels:
    """``labels`` [N], 0 and up, where each point of ``x`` [N, D] under -1 has that of the nearest one that is not."""
    kept = labels >= 0
    if kept.all():
        return labels
    if not kept.any():
        return np.zeros(len(x), np.int64)
    found = labels.copy()
    found[~kept] = nearest(x[kept], labels[kept], x[~kept])
    return found
