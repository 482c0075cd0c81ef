"""``npz:FILE``: one data set under ``x`` and ``y``, or many tables under ``names``, ``<name>/x`` and ``<name>/y``."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from tasks.data.raw import Array, RawData, class_codes

DAMAGED = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged npz file may raise; RuntimeError is for flags that no npz file has set."""


DATA_SET = "x and y, or names, <name>/x and <name>/y"
"""The arrays of a file of data sets."""


def read_npz(location: str) -> list[RawData]:
    """The data sets in the npz file at ``location``.

    Keys: ``x`` (see ``raw.RawData``), optional ``y`` [n] (whole numbers or strings), ``class_names``, ``group`` [n] and
    ``split`` [n]; or ``names`` with ``<name>/x``, ``<name>/y``, optional ``<name>/class_names``, and ``family``, one a
    name. Raises OSError if the file cannot be opened, ValueError if it is no npz, holds objects or lacks a key.
    """
    path = Path(location)
    name = f"npz:{path.name}"
    with path.open("rb") as file, _open(path, file) as arrays:
        if "names" not in arrays:
            return [_table(name, arrays, "")]
        names = _get(name, arrays, "names")
        family = _get(name, arrays, "family") if "family" in arrays else names
        if names.ndim != 1 or len(names) == 0 or family.shape != names.shape:
            raise ValueError(
                f"{name}: {list(names.shape)} names and {list(family.shape)} families, expected one of each a table"
            )
        return [
            _table(f"{name}/{table}", arrays, f"{table}/", str(kin))
            for table, kin in zip(names.tolist(), family.tolist(), strict=True)
        ]


def read_arrays(location: str | Path, keys: Sequence[str]) -> dict[str, Array]:
    """The arrays of ``keys`` in the npz file at ``location``, which is no data set. Raises as ``read_npz`` does."""
    path = Path(location)
    with path.open("rb") as file, _open(path, file) as arrays:
        return {key: _get(f"npz:{path.name}", arrays, key, ", ".join(keys)) for key in keys}


def _open(path: Path, file: BinaryIO) -> NpzFile:
    try:
        arrays = np.load(file, allow_pickle=False)
    except DAMAGED:
        raise ValueError(f"{path}: not an npz file, or a damaged one") from None
    if not isinstance(arrays, NpzFile):
        raise ValueError(f"{path}: a single array, expected an npz file with arrays x and y")
    return arrays


def _get(name: str, arrays: Mapping[str, Array], key: str, expected: str = DATA_SET) -> Array:
    """The array under ``key``. Raises ValueError if it is missing, damaged or holds objects."""
    if key not in arrays:
        there = ", ".join(list(arrays)[:6]) or "nothing"
        raise ValueError(f"{name}: no array {key!r}, expected {expected}; it holds {there}")
    try:
        array = arrays[key]
    except DAMAGED as error:
        what = "holds Python objects, expected numbers or strings" if "Object arrays" in str(error) else "is damaged"
        raise ValueError(f"{name}: array {key!r} {what}") from None
    if not isinstance(array, np.ndarray):  # numpy hands out the bytes of a member that is no array
        raise ValueError(f"{name}: {key!r} is not an array")
    return array


def _table(name: str, arrays: Mapping[str, Array], prefix: str, family: str | None = None) -> RawData:
    """The data set whose keys begin with ``prefix``."""
    found = {key: _get(name, arrays, prefix + key) for key in ("y", "group", "split") if prefix + key in arrays}
    x = _get(name, arrays, f"{prefix}x")
    for key, array in found.items():
        if x.ndim == 0 or array.shape != x.shape[:1]:
            raise ValueError(
                f"{name}: {key} has shape {list(array.shape)} and x {list(x.shape)}, expected one {key} an example"
            )
    labels: Array | None = None
    class_names: tuple[str, ...] = ()
    if "y" in found:
        given = _get(name, arrays, f"{prefix}class_names") if f"{prefix}class_names" in arrays else None
        labels, class_names = class_codes(name, found["y"], given)
    group = None if "group" not in found else np.unique(found["group"], return_inverse=True)[1]
    return RawData(name, x, labels, class_names, group, found.get("split"), family)
