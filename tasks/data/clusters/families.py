"""Families of synthetic clusters: each draws n points [n, D] of k clusters in about d dimensions, and whose they are.

Shapes: n points, d dimensions, k clusters.
"""

import math
from collections.abc import Callable

import numpy as np

from tasks.data.clusters.placing import Draw, arc, centres, labels, lifted, sizes, some, stretched, turned
from tasks.data.raw import Array

Drawn = tuple[Array, Array]
"""Points [n, D] and the cluster [n] of each."""

Family = Callable[[Draw, int, int, int], Drawn]
"""A random stream, n, d and k give a set."""

FULL = 2 * math.pi


def gaussians(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Normal clouds, round or long, alike or not; some with heavy tails."""
    counts, middles, scale, kind = sizes(draw, n, k), centres(draw, k, d), some(draw, 0.1, 0.32), int(draw.integers(4))
    clouds = []
    for count, middle in zip(counts, middles, strict=True):
        cloud = draw.normal(size=(count, d))
        if kind in (1, 3):
            cloud = cloud @ stretched(draw, d, *((-1.6, 0.2) if kind == 1 else (-1.8, 0.5)))
        if draw.random() < 0.15:  # Student's t of four degrees of freedom
            cloud /= np.sqrt(np.maximum(draw.chisquare(4, (count, 1)) / 4, 0.1))
        own = scale if kind < 2 else scale * math.exp(some(draw, -1, 0.3))
        clouds.append(middle + own * cloud)
    x = np.concatenate(clouds)
    if kind == 2 and draw.random() < 0.3:
        x = x @ stretched(draw, d, -1.6, 0.1)
    return x, labels(counts)


def strips(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Long clouds beside each other."""
    counts, length, thickness = sizes(draw, n, k), some(draw, 2, 6), some(draw, 0.06, 0.2)
    heights, parts = np.cumsum(draw.uniform(0.7, 1.4, k)), []
    for count, height in zip(counts, heights, strict=True):
        even = draw.random() < 0.5
        along = draw.uniform(-0.5, 0.5, count) if even else 0.29 * draw.normal(size=count)
        moved = some(draw, -0.2, 0.2)
        parts.append(np.stack([length * (along + moved), height + thickness * draw.normal(size=count)], 1))
    return lifted(draw, np.concatenate(parts), d), labels(counts)


def rings(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Circles around each other, sometimes around a cloud, or shells."""
    counts, radii, thickness = sizes(draw, n, k), np.cumsum(draw.uniform(0.6, 1.4, k)), some(draw, 0.03, 0.13)
    if draw.random() < 0.5:
        counts = sorted(counts)
    parts = [arc(draw, count, (0, FULL), radius, thickness) for count, radius in zip(counts, radii, strict=True)]
    if draw.random() < 0.4:
        parts[0] = 0.35 * radii[0] * draw.normal(size=(counts[0], 2))
    x = np.concatenate(parts)
    if d > 2 and draw.random() < 0.3:
        ways = draw.normal(size=(n, 3))
        x = ways / np.linalg.norm(ways, axis=1, keepdims=True) * np.linalg.norm(x, axis=1, keepdims=True)
    return lifted(draw, x, d), labels(counts)


def moons(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """A chain of half circles, up and down in turns."""
    counts, thickness = sizes(draw, n, k), some(draw, 0.04, 0.15)
    along, across, parts = some(draw, 0.9, 1.1), some(draw, 0.2, 0.5), []
    for place, count in enumerate(counts):
        x = arc(draw, count, (0, math.pi), 1, thickness)
        if place % 2:
            x = x * np.array([1, -1]) + np.array([0, across])
        parts.append(x + np.array([along * place, 0]))
    return lifted(draw, np.concatenate(parts), d), labels(counts)


def spirals(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Arms of a spiral."""
    counts, turns = sizes(draw, n, k), some(draw, 0.5, 1.25 if k < 3 else 0.8)
    thickness, parts = some(draw, 0.02, 0.07), []
    for place, count in enumerate(counts):
        radius = np.sqrt(draw.uniform(0.1, 1, count))
        angle = FULL * (turns * radius + place / k)
        arm = 2 * np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        parts.append(arm + thickness * draw.normal(size=(count, 2)))
    return lifted(draw, np.concatenate(parts), d), labels(counts)


def _figure(draw: Draw, count: int) -> Array:
    """A cloud, ring, arc, line, square, bar or disc of points [count, 2]."""
    radius, kind = some(draw, 0.2, 0.42), int(draw.integers(7))
    thickness = radius * some(draw, 0.05, 0.2)
    if kind == 0:
        x = 0.45 * radius * draw.normal(size=(count, 2))
    elif kind in (1, 2):
        x = arc(draw, count, (0, FULL if kind == 1 else some(draw, 2, 5)), radius, thickness)
    elif kind == 3:
        x = np.stack([1.3 * radius * draw.uniform(-1, 1, count), thickness * draw.normal(size=count)], 1)
    elif kind == 4:
        x = 0.8 * radius * draw.uniform(-1, 1, (count, 2))
    elif kind == 5:
        x = radius * draw.uniform(-1, 1, (count, 2)) * [1, 0.3]
    else:
        ways = draw.normal(size=(count, 2))
        x = radius * np.sqrt(draw.uniform(0, 1, (count, 1))) * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    return x @ turned(draw, 2)


def figures(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Different figures beside each other; sometimes one lies around another."""
    counts, middles = sizes(draw, n, k), centres(draw, k, 2)
    parts = [middle + _figure(draw, count) for middle, count in zip(middles, counts, strict=True)]
    if k > 1 and draw.random() < 0.35:
        outer, inner = draw.permutation(k)[:2].tolist()
        held = parts[inner] - parts[inner].mean(0)
        radius = some(draw, 1.3, 1.8) * float(np.linalg.norm(held, axis=1).max())
        parts[inner] = middles[outer] + held
        around = arc(draw, counts[outer], (0, FULL), radius, radius * some(draw, 0.04, 0.1))
        parts[outer] = middles[outer] + around
    return lifted(draw, np.concatenate(parts), d), labels(counts)


def tiles(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Squares on a grid, of different density, with gaps between them."""
    counts, side, gap = sizes(draw, n, k), math.ceil(math.sqrt(k)), some(draw, 0.08, 0.4)
    cells = draw.permutation(side * side)[:k]
    parts = [
        np.array(divmod(int(cell), side)) + draw.uniform(0, 1 - gap, (count, 2))
        for cell, count in zip(cells, counts, strict=True)
    ]
    return lifted(draw, np.concatenate(parts), d), labels(counts)


def images(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """What a random network makes of clouds, figures or strips of two to four dimensions."""
    low, hidden = int(draw.integers(2, 5)), int(draw.integers(8, 25))
    x, whose = (gaussians, figures, strips)[int(draw.integers(3))](draw, n, low, k)
    x = (x - x.mean(0)) / x.std()
    inner = x @ draw.normal(size=(low, hidden)) * some(draw, 0.5, 1.2) / math.sqrt(low)
    x = np.tanh(inner + 0.5 * draw.normal(size=hidden)) @ draw.normal(size=(hidden, d)) / math.sqrt(hidden)
    return x + some(draw, 0, 0.05) * x.std() * draw.normal(size=(n, d)), whose


def categories(draw: Draw, n: int, d: int, k: int) -> Drawn:
    """Columns of two to four categories, 0 and 1 in a column each; sometimes three columns of numbers beside them."""
    counts, sharpness, columns = sizes(draw, n, k), some(draw, 0.8, 2.5), []
    whose = labels(counts)
    for _ in range(max(d // 3, 2)):
        values = int(draw.integers(2, 5))
        weights = np.exp(sharpness * draw.normal(size=(k, values)))
        shares = (weights / weights.sum(1, keepdims=True)).cumsum(1)
        columns.append(np.eye(values)[(draw.random((n, 1)) > shares[whose, :-1]).sum(1)])
    if draw.random() < 0.5:
        columns.append(centres(draw, k, 3)[whose] + 0.3 * draw.normal(size=(n, 3)))
    return np.concatenate(columns, 1), whose


FAMILIES: dict[str, Family] = {
    family.__name__: family for family in (gaussians, strips, rings, moons, spirals, figures, tiles, images, categories)
}
"""By name."""

MOST = {"rings": 4, "moons": 5, "spirals": 4}
"""The most clusters of families that can only have few."""
