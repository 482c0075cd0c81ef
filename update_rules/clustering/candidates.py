"""The clusterers that one would take by hand: by name, from scikit-learn and scipy, and Genie where it is installed.

Each is given points on one scale and how many clusters there are. Shapes: N points, D dimensions.
"""

import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from update_rules.clustering.points import Labels, Points, few_different, rejoined

Candidate = Callable[[Points, int, int], Labels]
"""Points [N, D], the number of clusters, from 1 to how many of them differ, and a seed give the cluster [N] of each."""

NEIGHBOURS = 10
"""Of a point, in spectral clustering."""

STARTS = 10
"""Of k-means and of Gaussian mixtures, of which the best counts."""

LINKAGES = ("single", "average", "complete", "ward")
"""How trees of clusters are joined."""

SMALLEST = (3, 5, 8, 12, 20, 35, 60)
"""The smallest clusters that HDBSCAN is tried with."""


def kmeans(x: Points, clusters: int, seed: int) -> Labels:
    """k-means."""
    from sklearn.cluster import KMeans

    found: Labels = KMeans(clusters, n_init=STARTS, random_state=seed).fit_predict(x)
    return found


def gaussian_mixture(x: Points, clusters: int, seed: int) -> Labels:
    """The most likely parts of a mixture of Gaussians with full covariances."""
    from sklearn.mixture import GaussianMixture

    found: Labels = GaussianMixture(clusters, n_init=STARTS // 2, random_state=seed).fit_predict(x)
    return found


def linked(method: str, x: Points, clusters: int, seed: int) -> Labels:
    """A cut through the tree of linkage by ``method``."""
    if len(x) == 1:
        return np.zeros(1, np.int64)
    return fcluster(linkage(x, method), clusters, "maxclust").astype(np.int64) - 1


def spectral(x: Points, clusters: int, seed: int) -> Labels:
    """Spectral clustering of the graph of nearest neighbours."""
    from sklearn.cluster import SpectralClustering

    neighbours = min(NEIGHBOURS, len(x))
    method = SpectralClustering(
        clusters, affinity="nearest_neighbors", n_neighbors=neighbours, random_state=seed, assign_labels="cluster_qr"
    )
    found: Labels = method.fit_predict(x)
    return found


def birch(x: Points, clusters: int, seed: int) -> Labels:
    """Birch."""
    from sklearn.cluster import Birch

    found: Labels = Birch(n_clusters=clusters, threshold=0.1).fit_predict(x)
    return found


def hdbscan(x: Points, clusters: int, seed: int) -> Labels:
    """HDBSCAN with the smallest clusters that come nearest to ``clusters`` in number; noise joins its nearest point."""
    from sklearn.cluster import HDBSCAN

    found = [
        HDBSCAN(min_cluster_size=min(size, len(x)), copy=True).fit_predict(x) for size in SMALLEST if size <= len(x)
    ]
    best = min(found, key=lambda labels: abs(int(labels.max()) + 1 - clusters), default=np.zeros(len(x), np.int64))
    return rejoined(x, best)


def genie(x: Points, clusters: int, seed: int) -> Labels:
    """Genie (Gagolewski et al., 2016) at its default."""
    import genieclust  # type: ignore[import-not-found]

    return np.asarray(genieclust.Genie(n_clusters=clusters).fit_predict(x), np.int64)


CANDIDATES: dict[str, Candidate] = {
    "kmeans": kmeans,
    "gaussian_mixture": gaussian_mixture,
    **{name: partial(linked, name) for name in LINKAGES},
    "spectral": spectral,
    "birch": birch,
    "hdbscan": hdbscan,
}
"""By name, those that are always there."""

EXTRA: dict[str, tuple[str, Candidate]] = {"genie": ("genieclust", genie)}
"""By name, the package that one needs, and it."""


def installed() -> dict[str, Candidate]:
    """CANDIDATES, and those of EXTRA whose package is installed."""
    return CANDIDATES | {name: one for name, (package, one) in EXTRA.items() if find_spec(package) is not None}


def found_by(name: str, x: Points, clusters: int, seed: int) -> Labels:
    """The cluster [N], from 0 without gaps, of each of the points ``x`` [N, D] by the candidate ``name``.

    Equal points are one cluster each where no more than ``clusters`` differ. What libraries warn of, such as graphs of
    neighbours in parts, is not said.
    """
    alone = few_different(x, clusters)
    if alone is not None:
        return alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = installed()[name](x, clusters, seed)
    found: Labels = np.unique(labels, return_inverse=True)[1]
    return found
