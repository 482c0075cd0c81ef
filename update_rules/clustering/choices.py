"""The finite family that a chooser picks from: clusterers, how many clusters, and what share of outliers stays aside.

Shapes: N points, D dimensions, A choices.
"""

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from update_rules.clustering.candidates import LINKAGES, found_by, installed
from update_rules.clustering.points import Labels, Points, rejoined

ALONE = ("kmeans", "gaussian_mixture", "spectral", "birch", "hdbscan", "genie")
"""Clusterers that see all points."""

DROPPED = (0.0, 0.05, 0.15)
"""Shares of points, those farthest from their neighbours, that stay aside of LINKAGES and then join the nearest."""

UNTOLD = ("kmeans", "gaussian_mixture", "average", "ward", "single", "spectral")
"""Clusterers that are tried with each of COUNTS clusters where nobody says how many."""

COUNTS = tuple(range(2, 11))

NEIGHBOUR = 5
"""The neighbour whose distance tells an outlier."""


class Choice(NamedTuple):
    """One way to cluster."""

    name: str
    clusters: int
    dropped: float = 0.0

    def __str__(self) -> str:
        left = f" without {self.dropped:.0%} of outliers" if self.dropped else ""
        return f"{self.name} into {self.clusters}{left}"


def choices(clusters: int, extra: bool = False) -> list[Choice]:
    """The family for ``clusters`` clusters, 0 where nobody says; with ``extra`` what is not always installed too."""
    names = installed()
    if not clusters:
        found = [Choice(name, count) for name in UNTOLD for count in COUNTS]
        return found + [Choice("genie", count) for count in COUNTS if extra and "genie" in names]
    found = [Choice(name, clusters) for name in ALONE if name in names and (extra or name != "genie")]
    return found + [Choice(name, clusters, share) for name in LINKAGES for share in DROPPED]


def carried_out(x: Points, choice: Choice, seed: int) -> Labels:
    """The cluster [N] of each of the points ``x`` [N, D] by ``choice``, as many as there are points at most."""
    kept = np.arange(len(x))
    if choice.dropped and len(x) > NEIGHBOUR:
        far = cKDTree(x).query(x, NEIGHBOUR + 1)[0][:, -1]
        kept = np.sort(np.argsort(far, kind="stable")[: max(choice.clusters, round((1 - choice.dropped) * len(x)))])
    labels = np.full(len(x), -1)
    labels[kept] = found_by(choice.name, x[kept], choice.clusters, seed)
    return rejoined(x, labels)
