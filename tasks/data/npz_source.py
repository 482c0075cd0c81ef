"""``npz:FILE``: one data set under ``x`` and ``y``, or many tables under ``names``, ``<name>/x`` and ``<name>/y``.

A FILE that holds one array, as ``numpy.save`` writes it, is read as ``x``.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from common.notice import notice
from tasks.data.array_inputs import as_inputs
from tasks.data.array_labels import as_classes, as_column, as_split
from tasks.data.npz_layouts import OWN, joined, parts_of
from tasks.data.raw import Array, RawData

DAMAGED = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a damaged npz file may raise; RuntimeError is for flags that no npz file has set."""


HOLDS_OBJECTS = "holds Python objects, expected numbers or strings; store array.astype(str) or (float)"

DATA_SET = "x and y, or names, <name>/x and <name>/y"
"""The arrays of a file of data sets."""


def read_npz(location: str, labelled: bool = True, name: str | None = None) -> list[RawData]:
    """The data sets in the npz file, or the inputs in the npy file, at ``location``, called ``name`` or after the file.

    Keys: ``x`` (see ``array_inputs``), optional ``y`` [n] (see ``array_labels``), ``class_names``, ``group`` [n] and
    ``split`` [n], or others as ``npz_layouts`` says; or ``names`` with ``<name>/x``, ``<name>/y``, optional
    ``<name>/class_names``, and ``family``, one a name. Labels that are no classes are refused where ``labelled``, else
    noticed. Raises OSError if the file cannot be opened, ValueError if it is no npz, holds objects or lacks a key.
    """
    path = Path(location)
    name = name or f"npz:{path.name}"
    with path.open("rb") as file, _open(path, file) as arrays:
        if "names" not in arrays or ("x" in arrays and not any(key.endswith("/x") for key in arrays)):
            if "names" in arrays:
                notice(f"{name}: did not read names, which only a file of many tables has")
            return [_data_set(name, _found(name, arrays), None, labelled)]
        names = _get(name, arrays, "names")
        family = _get(name, arrays, "family") if "family" in arrays else names
        if names.ndim != 1 or len(names) == 0 or family.shape != names.shape:
            raise ValueError(
                f"{name}: {list(names.shape)} names and {list(family.shape)} families, expected one of each a table"
            )
        return [
            _data_set(f"{name}/{table}", _exactly(f"{name}/{table}", arrays, f"{table}/"), str(kin), labelled)
            for table, kin in zip(names.tolist(), family.tolist(), strict=True)
        ]


def read_arrays(location: str | Path, keys: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Array]:
    """The arrays of ``keys``, and those there are of ``optional``, in the npz file at ``location``, no data set.

    Raises as ``read_npz`` does.
    """
    path = Path(location)
    with path.open("rb") as file, _open(path, file) as arrays:
        wanted = [*keys, *(key for key in optional if key in arrays)]
        return {key: _get(f"npz:{path.name}", arrays, key, ", ".join(keys)) for key in wanted}


@contextmanager
def _open(path: Path, file: BinaryIO) -> Iterator[Mapping[str, Array]]:
    """The arrays in ``file``; a single one, as npy files hold it, is x."""
    try:
        arrays = np.load(file, allow_pickle=False)
    except DAMAGED as error:
        what = HOLDS_OBJECTS if "Object arrays" in str(error) else "not an npz file, or a damaged one"
        raise ValueError(f"{path}: {what}") from None
    if isinstance(arrays, np.ndarray):
        yield {"x": arrays}
    else:
        with arrays:
            yield arrays


def _get(name: str, arrays: Mapping[str, Array], key: str, expected: str = DATA_SET) -> Array:
    """The array under ``key``. Raises ValueError if it is missing, damaged or holds objects."""
    if key not in arrays:
        there = ", ".join(list(arrays)[:6]) or "nothing"
        raise ValueError(f"{name}: no array {key!r}, expected {expected}; it holds {there}")
    try:
        array = arrays[key]
    except DAMAGED as error:
        what = HOLDS_OBJECTS if "Object arrays" in str(error) else "is damaged"
        raise ValueError(f"{name}: array {key!r} {what}") from None
    if not isinstance(array, np.ndarray):  # numpy hands out the bytes of a member that is no array
        raise ValueError(f"{name}: {key!r} is not an array")
    if array.dtype.kind == "S":
        try:
            return np.strings.decode(array, "utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{name}: array {key!r} holds bytes that are no text; store them as strings") from None
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _exactly(name: str, arrays: Mapping[str, Array], prefix: str = "") -> dict[str, Array]:
    """x and what else there is of a data set whose keys begin with ``prefix``."""
    optional = [key for key in ("y", *OWN) if prefix + key in arrays]
    return {key: _get(name, arrays, prefix + key) for key in ("x", *optional)}


def _found(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same for the only data set of a file, whatever its arrays are called, its parts one after the other."""
    parts = parts_of(name, list(arrays))
    if not parts:
        return _exactly(name, arrays)
    x = [_get(name, arrays, part.x) for part in parts]
    y = [None if part.y is None else _get(name, arrays, part.y) for part in parts]
    own = OWN if not parts[0].part else OWN[:1]
    found = {key: _get(name, arrays, key) for key in own if key in arrays} | {"x": x[0]}
    if y[0] is not None:
        found["y"] = y[0]
    return found if not parts[0].part else found | joined(name, parts, x, y)


def _data_set(name: str, found: Mapping[str, Array], family: str | None, labelled: bool) -> RawData:
    """The data set of the arrays ``found``: x, and what there is of y, class_names, group and split."""
    x = found["x"]
    columns = {key: as_column(name, key, found[key], x) for key in ("y", "group", "split") if key in found}
    given = columns.get("y")
    labels: Array | None = None
    class_names: tuple[str, ...] = ()
    if given is not None:
        try:
            labels, class_names = as_classes(name, given, found.get("class_names"))
        except ValueError as error:
            if labelled:
                raise
            notice(f"{error}: read without labels")
    group = None if "group" not in columns else np.unique(columns["group"], return_inverse=True)[1]
    split = None if "split" not in columns else as_split(name, columns["split"])
    return RawData(name, as_inputs(name, x), labels, class_names, group, split, family, given)
