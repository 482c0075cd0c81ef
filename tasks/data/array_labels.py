"""Arrays of other programs as labels and parts of examples."""

import numpy as np

from common.notice import notice
from tasks.data.raw import Array, class_codes
from tasks.data.splits import PART_NAMES


def as_column(name: str, key: str, array: Array, x: Array) -> Array:
    """``array`` [n] or [n, 1], n examples as in ``x``, as [n]; one 1 a row in y [n, C] is its place, with a notice.

    Raises ValueError for other shapes.
    """
    if x.ndim == 0 or array.shape[:1] != x.shape[:1] or (array.ndim > 1 and not _is_column(key, array)):
        raise ValueError(
            f"{name}: {key} has shape {list(array.shape)} and x {list(x.shape)}, expected one {key} an example"
        )
    if array.ndim == 1:
        return array
    if array.shape[1] == 1:
        return array[:, 0]
    notice(f"{name}: y holds one 1 in each row of {array.shape[1]}: its place is the class")
    return array.argmax(1)


def _is_column(key: str, array: Array) -> bool:
    """Whether ``array``, of two axes or more, holds one value a row, or is y with one 1 and else 0 in each row."""
    if array.ndim > 2 or key != "y" or array.dtype.kind not in "iubf":
        return array.shape[1:] == (1,)
    return array.shape[1] == 1 or bool(((array == 0) | (array == 1)).all() and (array.sum(1) == 1).all())


def as_classes(name: str, y: Array, class_names: Array | None) -> tuple[Array | None, tuple[str, ...]]:
    """Codes int64 [n] of ``y`` [n] and the names of the classes; -1, with a notice, for an example without a label.

    That is NaN, an empty text, or -1 among whole numbers from 0, as scikit-learn has it; -1 and 1 are two classes.
    None instead of codes where no example has one. Raises ValueError as ``class_codes`` does.
    """
    missing = np.zeros(len(y), bool)
    if y.dtype.kind == "U":
        missing = y == ""
    elif y.dtype.kind in "if":
        missing = np.isnan(y)
        others = y[~missing & (y != -1)]
        if (others >= 0).all() and (others != 1).any():
            missing |= y == -1
    if missing.any():
        hint = "-1; if that is a class, write classes as text" if (y[missing] == -1).any() else "NaN or empty"
        notice(f"{name}: {missing.sum()} of {len(y)} examples are taken as unlabelled, since their y is {hint}")
        if missing.all():
            return None, ()
    codes = np.full(len(y), -1, np.int64)
    codes[~missing], names = class_codes(name, y[~missing], class_names)
    return codes, names


def as_split(name: str, split: Array) -> Array:
    """``split`` [n] as ``RawData`` has it, of names in any usual spelling, whole numbers or, with a notice, booleans.

    Raises ValueError for other numbers. Names that say nothing stay.
    """
    if split.dtype.kind == "U":
        return np.array([PART_NAMES.get(part.strip().lower(), part) for part in split.tolist()])
    if split.dtype.kind == "b":
        notice(f"{name}: split is True or False: read as test and train")
    if split.dtype.kind not in "iubf" or not (split == np.round(split)).all():
        raise ValueError(f"{name}: split is {split.dtype}, expected train, valid and test, or 0, 1 and 2")
    return split.astype(np.int64)
