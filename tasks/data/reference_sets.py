"""Sets whose clusters somebody has told, maybe in several ways, to judge clusterings by.

``clustering:FILE`` is an npz file in the conventions of Gagolewski's suite: ``names``, ``battery``, and by name ``x``
[n, D] and reference labellings ``y0``, ``y1`` ... [n] of 1 to K, 0 for noise. Shapes: N points, D dimensions.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.home_folder import expanded
from tasks.data.npz_source import read_arrays
from tasks.dataset import NOISE, Dataset, clusters_of

SUITE = "clustering"
"""The scheme of such files."""


@dataclass(frozen=True)
class ReferenceSet:
    """Points whose clusters somebody has told."""

    name: str
    part: str
    """What it belongs to, of which a mean is taken."""
    x: NDArray[np.float64]
    """[N, D]."""
    references: tuple[NDArray[np.int64], ...]
    """[N] each: a cluster from 0, or -1 for a point of none, which no score looks at."""


def is_suite(source: str) -> bool:
    """Whether ``source`` names a file of reference sets."""
    return source.partition(":")[0] == SUITE


def read_suite(source: str) -> list[ReferenceSet]:
    """The sets in the file that ``source``, ``clustering:FILE``, names. A part is ``FILE#battery``.

    Raises OSError if it cannot be opened, and ValueError if it is no such file.
    """
    path = Path(expanded(source.partition(":")[2]))
    if not path.name:
        raise ValueError(f"got {source!r}, expected {SUITE}:FILE")
    found = read_arrays(path, ("names", "battery"))
    names, batteries = found["names"].tolist(), found["battery"].tolist()
    if not names or len(names) != len(batteries) or len({*names}) < len(names):
        raise ValueError(
            f"{path}: {len({*names})} names that differ and {len(batteries)} batteries, expected one of each a set"
        )
    further = [f"{name}/y{place}" for name in names for place in range(1, 100)]
    arrays = read_arrays(path, [f"{name}/{key}" for name in names for key in ("x", "y0")], further)
    sets = []
    for name, battery in zip(names, batteries, strict=True):
        x = np.asarray(arrays[f"{name}/x"], np.float64)
        keys = sorted(
            (key for key in arrays if key.startswith(f"{name}/y")), key=lambda key: int(key.rpartition("y")[2])
        )
        given = [np.asarray(arrays[key]) for key in keys]
        wrong = [y.shape for y in given if y.shape != x.shape[:1] or y.dtype.kind not in "iuf" or not _numbered(y)]
        if x.ndim != 2 or len(x) < 2 or not np.isfinite(x).all() or wrong:
            raise ValueError(
                f"{path}: {name} has x {list(x.shape)} and labels {[list(one.shape) for one in given]}, expected "
                "finite x [n, D] of 2 rows or more, and labels [n] of whole numbers, 0 for noise and 1 to K"
            )
        references = tuple(y.astype(np.int64) - 1 for y in given)
        sets.append(ReferenceSet(str(name), f"{path.name}#{battery}", x, references))
    return sets


def _numbered(y: NDArray[np.float64]) -> bool:
    """Whether ``y`` holds whole numbers from 0 on, and not of noise alone."""
    return bool(np.isfinite(y).all() and (y == np.round(y)).all() and y.min() >= 0 and y.max() > 0)


def reference_of(dataset: Dataset, part: str) -> ReferenceSet:
    """The classes of ``dataset`` as one reference, NOISE as no cluster. Raises ValueError where none is left."""
    codes, kept = np.full(dataset.classes, -1), clusters_of(dataset).numpy()
    if not len(kept):
        raise ValueError(f"{dataset.name}: all rows are of the class {NOISE!r}, expected clusters")
    codes[kept] = np.arange(len(kept))
    return ReferenceSet(dataset.name, part, dataset.x.double().numpy(), (codes[dataset.y.numpy()],))
