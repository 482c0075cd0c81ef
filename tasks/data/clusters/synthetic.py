"""``clusters:FAMILY``: sets of points whose clusters are known, from a fixed seed; ``clusters:all`` of every family."""

import zlib
from difflib import get_close_matches

import numpy as np

from tasks.data.clusters.families import FAMILIES, MOST
from tasks.data.clusters.placing import FEWEST
from tasks.data.raw import RawData
from tasks.dataset import NOISE

PARTS = {"train": range(480), "valid": range(480, 640), "test": range(640, 800)}
"""The sets of each family by their numbers."""

POINTS = (60, 400)
FEW, SOME, MANY = 3, 10, 20
"""The most clusters of a set: in a quarter, in half and in a quarter of them, as far as the family has so many."""

DIMENSIONS = (2, 16)
"""The fewest and the most of a set."""

ROOM = 3
"""Times FEWEST is what a set has at least for each cluster."""


def clusters(argument: str, split: str | None = None) -> list[RawData]:
    """The sets of each family in ``argument``, apart by commas, or of ``all``: float32 [n, D] and their clusters.

    They are all, or those of one of PARTS, the same for any seed.

    Names are ``clusters/FAMILY/NUMBER``. In one set of seven there are points of no cluster, whose class is NOISE.
    Raises ValueError for a name of no family.
    """
    names = list(FAMILIES) if argument == "all" else argument.split(",")
    for name in names:
        if name not in FAMILIES:
            near = get_close_matches(name, FAMILIES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"clusters:{argument}: no family {name!r}, expected all or {', '.join(FAMILIES)}{hint}")
    numbers = [number for part, those in PARTS.items() if split in (None, part) for number in those]
    mark = f"@{split}" if split else ""
    return [_set(name, number, mark) for name in names for number in numbers]


def _set(family: str, number: int, mark: str) -> RawData:
    """One set, from a random stream of its own: in random order, moved and scaled at random."""
    draw = np.random.default_rng((zlib.crc32(family.encode()), number))
    most = (FEW, SOME, SOME, MANY)[int(draw.integers(4))]
    k = int(draw.integers(2, min(most, MOST.get(family, most)) + 1))
    n = max(int(draw.integers(POINTS[0], POINTS[1] + 1)), ROOM * FEWEST * k)
    d = 2 if draw.random() < 0.45 else int(draw.integers(DIMENSIONS[0], DIMENSIONS[1] + 1))
    x, y = FAMILIES[family](draw, n, d, k)
    names = tuple(f"cluster {place}" for place in range(k))
    if draw.random() < 1 / 7:
        count = max(1, int(len(x) * draw.uniform(0.02, 0.1)))
        x = np.concatenate([x, draw.uniform(x.min(0), x.max(0), (count, x.shape[1]))])
        y = np.concatenate([y, np.full(count, k)])
        names = (*names, NOISE)
    order = draw.permutation(len(x))
    scaled = np.exp(draw.normal()) * x[order] + draw.normal(size=x.shape[1])
    return RawData(f"clusters/{family}/{number:03d}{mark}", scaled.astype(np.float32), y[order].astype(np.int64), names)
