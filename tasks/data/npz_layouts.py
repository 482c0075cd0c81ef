"""Which arrays of an npz file are the inputs and labels of a data set, under the names that are around."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.notice import notice
from tasks.data.raw import Array
from tasks.data.splits import PART_NAMES, SPLITS

ROLES = {
    **dict.fromkeys(("x", "data", "images", "inputs", "features"), "x"),
    **dict.fromkeys(("y", "target", "targets", "label", "labels"), "y"),
}
"""What arrays are called, in small letters -> what they are."""

OWN = ("class_names", "group", "split")
"""Arrays that are read beside x and y."""

SPARSE = {"data", "indices", "indptr", "shape"}


@dataclass(frozen=True)
class Part:
    """The keys of one part of a data set; ``part`` is "" where the data set has none, ``y`` None where it is not."""

    x: str
    y: str | None
    part: str = ""


def parts_of(name: str, keys: Sequence[str]) -> list[Part]:
    """The parts whose examples, one after the other, are the data set in arrays called ``keys``; none without x.

    ``x`` and ``y`` come first; next, with a notice, other names for them, also such as ``x_train`` and ``test_images``;
    ``arr_0`` and ``arr_1``; or the only array. Raises ValueError where several would do, and for a sparse matrix.
    """
    if set(keys) >= SPARSE:
        raise ValueError(f"{name}: a sparse matrix, expected arrays; store matrix.toarray() as x")
    found: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        role = _role(key)
        if role is not None:
            found.setdefault(role, []).append(key)
    if "x" in keys:  # then no other name for it counts
        found = {role: those for role, those in found.items() if role[0] == ""} | {("", "x"): ["x"]}
    if "y" in keys:
        found["", "y"] = ["y"]
    parts = [
        Part(_only(name, found[part, "x"]), _only(name, found[part, "y"]) if (part, "y") in found else None, part)
        for part in ("", *SPLITS)
        if (part, "x") in found
    ]
    if len(parts) > 1 and not parts[0].part:
        _only(name, [part.x for part in parts])
    parts = parts or _unnamed(keys)
    if any(part.x != "x" or part.y not in (None, "y") for part in parts):
        _say_what_is_taken(name, parts, keys)
    return parts


def joined(name: str, parts: Sequence[Part], x: Sequence[Array], y: Sequence[Array | None]) -> dict[str, Array]:
    """x, split and, if any part has it, y of ``parts``, one after the other; y is NaN or "" in a part without it.

    Raises ValueError for parts that do not fit together.
    """
    for part, inputs, labels in zip(parts, x, y, strict=True):
        if inputs.ndim == 0 or (labels is not None and labels.shape[:1] != inputs.shape[:1]):
            shape = "" if labels is None else f" and {part.y} {list(labels.shape)}"
            raise ValueError(f"{name}: {part.x} has shape {list(inputs.shape)}{shape}, expected one label an example")
    found = {
        "x": _concatenated(name, [part.x for part in parts], x),
        "split": np.repeat([part.part for part in parts], [len(inputs) for inputs in x]),
    }
    labelled = {str(part.y): labels for part, labels in zip(parts, y, strict=True) if labels is not None}
    if labelled:
        known = _concatenated(name, list(labelled), list(labelled.values()))
        if len(labelled) < len(parts):  # room for "no label"
            known = known if known.dtype.kind == "U" else known.astype(np.float64)
        has_y = np.repeat([labels is not None for labels in y], [len(inputs) for inputs in x])
        found["y"] = np.zeros((len(has_y), *known.shape[1:]), known.dtype)
        found["y"][has_y] = known
        if not has_y.all():
            found["y"][~has_y] = "" if known.dtype.kind == "U" else np.nan
    return found


def _concatenated(name: str, keys: Sequence[str], arrays: Sequence[Array]) -> Array:
    """``arrays`` in one. Raises ValueError where they are not of one kind and shape."""
    if len({(array.shape[1:], array.dtype if array.dtype.kind == "u" else array.dtype.kind) for array in arrays}) > 1:
        what = ", ".join(f"{key} {array.dtype} {list(array.shape)}" for key, array in zip(keys, arrays, strict=True))
        raise ValueError(f"{name}: {what}, expected one type and shape of example")
    return np.concatenate(arrays)


def _role(key: str) -> tuple[str, str] | None:
    """The part, "" for none, and "x" or "y" that ``key`` stands for."""
    words = "|".join(ROLES)
    parts = "|".join(PART_NAMES)
    match = re.fullmatch(rf"(?:({parts})_?)?({words})(?:_?({parts}))?", key.lower())
    if match is None or (match[1] and match[3]):
        return None
    return PART_NAMES.get(match[1] or match[3] or "", ""), ROLES[match[2]]


def _only(name: str, keys: Sequence[str]) -> str:
    if len(keys) > 1:
        raise ValueError(f"{name}: arrays {', '.join(keys)} might be meant, expected x and y; rename those to read")
    return keys[0]


def _unnamed(keys: Sequence[str]) -> list[Part]:
    """The part of arrays that were saved without names, or of one array, whatever its name."""
    if sorted(keys) == ["arr_0", "arr_1"]:
        return [Part("arr_0", "arr_1")]
    return [Part(keys[0], None)] if len(keys) == 1 and _role(keys[0]) is None else []


def _say_what_is_taken(name: str, parts: Sequence[Part], keys: Sequence[str]) -> None:
    x, y = [part.x for part in parts], [part.y for part in parts if part.y is not None]
    own = OWN if not parts[0].part else OWN[:1]
    rest = [key for key in keys if key not in (*x, *y, *own)]
    text = f"{name}: took {', '.join(x)} as x" + (f" and {', '.join(y)} as y" if y else ", which has no labels")
    notice(text + (f"; did not read {', '.join(rest[:6])}" if rest else ""))
