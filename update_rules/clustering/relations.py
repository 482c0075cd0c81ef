"""What a clusterer is told of the points of a set: how each lies to each other, whatever their order, place and scale.

Shapes: N points and their M pairs, D dimensions, F relations of a pair, P of a point.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cophenet, fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from update_rules.clustering.points import Labels, Points, own_order, scaled

NEIGHBOURS = (1, 3, 7, 15, 31)
"""Which neighbours' distances tell how dense a set is around a point."""

LOCAL = 2
"""The place in NEIGHBOURS of the distance that is a point's own scale."""

CUT = ("reach", "average", "ward", "complete")
"""The linkages that are cut at the number of clusters."""

PAIRS, POINTS = 15, 7
"""F and P."""

LEAST = 1e-6
"""A distance that stands for none, on the scale of a set: of equal points."""

LLOYD = 8
"""Iterations of k-means at most."""


class Relations(NamedTuple):
    """Float32 [M, F] of the pairs of points, in the order of ``pairs_of``, and [N, P] of points."""

    pairs: NDArray[np.float32]
    points: NDArray[np.float32]


def pairs_of(n: int) -> tuple[Labels, Labels]:
    """The first and the second of each of the M = n (n - 1) / 2 pairs of n points, int64, as scipy orders them."""
    first, second = np.triu_indices(n, 1)
    return first, second


def place_of(n: int) -> Labels:
    """The place [n, n] of every two of n points among their M pairs, M for a point and itself: int64."""
    place = np.full((n, n), n * (n - 1) // 2)
    first, second = pairs_of(n)
    place[first, second] = place[second, first] = np.arange(len(first))
    return place


class _Near(NamedTuple):
    """Points in an order that is theirs and not the one they came in, so that ties fall out alike, and who is near."""

    order: Labels
    x: Points
    pairs: Points
    """[M]: distances."""
    distance: Points
    """[N, N]: the same."""
    steps: list[Points]
    """[N] each: the distance of each of NEIGHBOURS."""

    def of_points(self) -> NDArray[np.float32]:
        """The relations of points, in the order they came in."""
        n, middle = len(self.x), float(np.median(self.steps[LOCAL]))
        points = [np.log(step / middle).clip(-4, 4) for step in self.steps]
        points += [np.full(n, math.log(n) / 5), np.full(n, math.log(self.x.shape[1]) / 2)]
        return np.stack(points, -1)[np.argsort(self.order)].astype(np.float32)


def _near(x: Points) -> _Near:
    order = own_order(x)
    x = scaled(x[order])
    near = pdist(x) + LEAST
    distance = squareform(near)
    rising = np.sort(distance, 1)
    return _Near(order, x, near, distance, [rising[:, min(k, len(x) - 1)] for k in NEIGHBOURS])


def point_relations(x: Points) -> NDArray[np.float32]:
    """The ``points`` of ``relations``, without those of pairs."""
    return _near(x).of_points()


def relations(x: Points, clusters: int) -> Relations:
    """How the points ``x`` [N, D], N of 2 or more, lie to each other; ``clusters`` is 0 where nobody knows how many.

    Of a pair: its distance, by that of all, by that to near neighbours, and by rank; where single linkage, on plain
    distances and on those of HDBSCAN (Campello et al., 2013), and average, complete and Ward's linkage join it; and
    whether linkages and k-means, cut at ``clusters``, put it together. Of a point: how far its neighbours are.
    """
    found = _near(x)
    n, x, near, distance, steps = len(x), found.x, found.pairs, found.distance, found.steps
    own = steps[LOCAL]
    usual, middle = float(np.median(near)), float(np.median(own))
    first, second = pairs_of(n)
    reach = np.maximum(near, np.maximum(steps[1][first], steps[1][second]))
    trees = {
        "single": linkage(near, "single"),
        "reach": linkage(reach, "single"),
        **{name: linkage(near, name) for name in ("average", "ward", "complete")},
    }
    joined = {name: cophenet(tree) + LEAST for name, tree in trees.items()}
    local = np.sqrt(own[first] * own[second])
    ranks = np.log1p(_ranks(distance)) / 3
    there, back = ranks[first, second], ranks[second, first]
    cuts = {name: fcluster(trees[name], clusters, "maxclust") - 1 for name in CUT} if clusters > 1 else {}
    if cuts:
        cuts["kmeans"] = k_means(x, cuts["ward"])
    pairs = np.zeros((len(near), PAIRS), np.float32)
    for column, values in enumerate(
        [
            np.log((near + LEAST) / usual).clip(-5, 3),
            np.log((near + LEAST) / local).clip(-4, 5),
            np.minimum(there, back),
            np.maximum(there, back),
            np.log(joined["single"] / middle).clip(-4, 5),
            np.log(joined["reach"] / middle).clip(-4, 5),
            np.log(joined["reach"] / local).clip(-4, 5),
            *(np.log(joined[name] / np.median(joined[name])).clip(-5, 3) for name in ("average", "ward", "complete")),
            *(2.0 * (cut[first] == cut[second]) - 1 for cut in cuts.values()),
        ]
    ):
        pairs[:, column] = values
    came = np.argsort(found.order)
    return Relations(pairs[place_of(n)[came[first], came[second]]], found.of_points())


def k_means(x: Points, labels: Labels) -> Labels:
    """The clusters [N] of the points ``x`` [N, D] after LLOYD iterations from those of ``labels`` at most.

    A cluster that loses all of its points stays empty.
    """
    middles = np.zeros((int(labels.max()) + 1, x.shape[1]))
    for _ in range(LLOYD):
        for one in np.unique(labels):
            middles[one] = x[labels == one].mean(0)
        apart = ((x[:, None] - middles[None]) ** 2).sum(-1)
        found = apart.argmin(1)
        if (found == labels).all():
            break
        labels = found
    return labels


def _ranks(distance: Points) -> NDArray[np.int64]:
    """For each row of ``distance`` [N, N] how many of it are smaller than each."""
    order = distance.argsort(1, kind="stable")
    rising = np.take_along_axis(distance, order, 1)
    places = np.broadcast_to(np.arange(len(distance)), distance.shape)
    first = np.maximum.accumulate(np.where(np.diff(rising, axis=1, prepend=-1) > 0, places, 0), 1)
    ranks = np.empty_like(first)
    np.put_along_axis(ranks, order, first, 1)
    return ranks
