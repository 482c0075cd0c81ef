"""What families of synthetic clusters share: how many points each gets, where it lies, and points of other dimensions.

Shapes: n points, d dimensions, k clusters.
"""

import numpy as np

from tasks.data.raw import Array

Draw = np.random.Generator

FEWEST = 5
"""Points of the smallest cluster."""

TRIES = 12
"""Draws of centres, of which the one is taken whose closest two lie farthest apart."""


def some(draw: Draw, low: float, high: float) -> float:
    """A number between ``low`` and ``high``."""
    return float(draw.uniform(low, high))


def sizes(draw: Draw, n: int, k: int) -> list[int]:
    """How many of ``n`` points each of ``k`` clusters has: about as many each, or shares that differ up to ten times.

    At least FEWEST each.
    """
    spread = 0.0 if draw.random() < 0.5 else some(draw, 0.3, 1.2)
    shares = np.exp(spread * draw.normal(size=k))
    own = draw.multinomial(n - k * FEWEST, shares / shares.sum())
    return [int(count) + FEWEST for count in own]


def labels(counts: list[int]) -> Array:
    """The cluster [n] of each point, int64, where clusters of ``counts`` points follow each other."""
    return np.repeat(np.arange(len(counts)), counts)


def centres(draw: Draw, k: int, d: int) -> Array:
    """``k`` places in ``d`` dimensions [k, d], the closest two of which are 1 apart."""
    best, widest = np.zeros((k, d)), 0.0
    for _ in range(TRIES):
        places = draw.normal(size=(k, d)) if draw.random() < 0.5 else draw.uniform(-1.5, 1.5, (k, d))
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)[np.triu_indices(k, 1)]
        closest = float(apart.min()) if k > 1 else 1.0
        if closest > widest:
            best, widest = places, closest
    return best / max(widest, 1e-3)


def turned(draw: Draw, d: int) -> Array:
    """A random rotation or reflection [d, d]."""
    return np.linalg.qr(draw.normal(size=(d, d)))[0]


def stretched(draw: Draw, d: int, least: float, most: float) -> Array:
    """A linear map [d, d] that scales turned axes by factors whose logarithms lie between ``least`` and ``most``."""
    return np.diag(np.exp(draw.uniform(least, most, d))) @ turned(draw, d)


def lifted(draw: Draw, x: Array, d: int) -> Array:
    """The points ``x`` [n, 2 or 3], turned, in ``d`` dimensions, of which further ones hold little noise."""
    if d < x.shape[1]:
        return x[:, :d]
    noise = some(draw, 0, 0.08) * x.std()
    return np.hstack([x - x.mean(0), noise * draw.normal(size=(len(x), d - x.shape[1]))]) @ turned(draw, d)


def arc(draw: Draw, n: int, ends: tuple[float, float], radius: float, thickness: float) -> Array:
    """``n`` points [n, 2] on a circle of ``radius`` between two angles, with normal noise across."""
    angle, along = draw.uniform(*ends, n), radius + thickness * draw.normal(size=n)
    return np.stack([along * np.cos(angle), along * np.sin(angle)], 1)
