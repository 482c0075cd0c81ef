"""What a source holds as read: before a split is picked, images are resized and values are scaled."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.notice import notice
from tasks.dataset import Dataset, check_inputs, resize

if TYPE_CHECKING:
    from tasks.data.table_columns import TableColumns

Array = NDArray[Any]

ROUNDING = 1e-6
"""How far values may leave their range by rounding alone."""


@dataclass(frozen=True, eq=False)
class RawData:
    """One table or image collection of n examples, in the dtype of its file.

    ``x`` is [n, h, w] or [n, h, w, 3] (images: uint8, or floats in [0, 1]) or [n, D] (integers: counts; floats: rows).
    ``labels`` are codes int64 [n] into ``class_names``, -1 for an example without one, or None where no example has
    one; ``given`` are the same as they stood in the file. ``split`` [n] says which part an example belongs to: by name,
    train, valid or test; or 0 train, 1 test; or, where 2 occurs, 0 train, 1 validation, 2 test. ``ids`` are what the
    examples are called, strings [n], or None where they have no names. ``columns`` say how the columns of a table
    became inputs.
    """

    name: str
    x: Array
    labels: Array | None = None
    class_names: tuple[str, ...] = ()
    group: Array | None = None
    split: Array | None = None
    family: str | None = None
    given: Array | None = None
    ids: Array | None = None
    columns: "TableColumns | None" = None

    def rows(self, keep: Array) -> "RawData":
        """The examples ``keep``, int64 [m]."""
        columns = {key: getattr(self, key) for key in ("x", "labels", "group", "split", "given", "ids")}
        kept: dict[str, Any] = {key: None if column is None else column[keep] for key, column in columns.items()}
        return replace(self, **kept)


def class_codes(name: str, y: Array, class_names: Array | None = None) -> tuple[Array, tuple[str, ...]]:
    """Codes int64 [n] and the class names they point to, for labels ``y`` [n] of whole numbers or strings.

    With ``class_names`` the labels are places in it or, as strings, among it; without, the sorted distinct labels are
    the names. Raises ValueError for labels that are neither, of the wrong shape, or outside the names given.
    """
    if y.ndim != 1 or y.dtype.kind not in "iubfUS":
        raise ValueError(f"{name}: y is {y.dtype} {list(y.shape)}, expected one whole number or string an example")
    if y.dtype.kind == "f":
        whole = (np.abs(y) < 2**53) & (y == np.round(y))
        if not whole.all():
            raise ValueError(f"{name}: {int((~whole).sum())} of {len(y)} values of y are not whole numbers")
        y = y.astype(np.int64)
    if class_names is None:
        names, codes = np.unique(y, return_inverse=True)
        return codes.astype(np.int64), tuple(str(value) for value in names)
    if class_names.ndim != 1:
        raise ValueError(f"{name}: class_names has shape {list(class_names.shape)}, expected a list of names")
    if y.dtype.kind in "US":
        place = {str(value): code for code, value in enumerate(class_names)}
        if strangers := sorted(set(y.tolist()) - place.keys()):
            raise ValueError(f"{name}: y holds {strangers[0]!r}, expected one of class_names or the place of one")
        return np.array([place[value] for value in y.tolist()], np.int64), tuple(str(value) for value in class_names)
    codes = y.astype(np.int64)
    if len(y) and (y.min() < 0 or y.max() >= len(class_names)):
        raise ValueError(
            f"{name}: y runs from {y.min()} to {y.max()}, expected 0 to {len(class_names) - 1} "
            f"for {len(class_names)} class names"
        )
    return codes, tuple(str(value) for value in class_names)


def to_inputs(raw: RawData, size: int | None) -> tuple[Tensor, tuple[int, ...] | None]:
    """Float32 inputs [n, D] and the image shape, None for tables.

    Images are divided by 255 if uint8, resized to ``size`` if given, and flattened. Counts c become log2(1 + c), which
    keeps 0 and 1 and depends on no other example; rows of floats stay as they are. Raises ValueError for other shapes
    and dtypes, no examples, and values that are not finite or, in images, outside [0, 1] by more than rounding.
    """
    x, name = raw.x, raw.name
    if x.size == 0:
        raise ValueError(f"{name}: x is empty, shape {list(x.shape)}, expected at least one example and one input")
    if x.ndim == 2 and x.dtype.kind in "iub":
        if x.min() < 0:
            raise ValueError(
                f"{name}: whole numbers are read as counts, and the lowest is {x.min()}; store others as float32"
            )
        inputs, image_shape = torch.from_numpy(np.log2(1.0 + x.astype(np.float32))), None
    elif x.ndim == 2 and x.dtype.kind == "f":
        inputs, image_shape = torch.from_numpy(_float32(name, x)), None
    elif (x.ndim == 3 or (x.ndim == 4 and x.shape[3] == 3)) and (x.dtype == np.uint8 or x.dtype.kind == "f"):
        images = torch.from_numpy(_float32(name, x))
        if x.dtype == np.uint8:
            images /= 255.0
        else:
            if images.min() >= -ROUNDING and images.max() <= 1 + ROUNDING:
                images.clamp_(0.0, 1.0)
            check_inputs(name, images.flatten(1), tuple(images.shape[1:]))  # before resizing hides what is wrong
        images = images if size is None else resize(images, size)
        inputs, image_shape = images.flatten(1), tuple(images.shape[1:])
    else:
        raise ValueError(
            f"{name}: x is {x.dtype} {list(x.shape)}, expected images uint8 [n, h, w] or [n, h, w, 3], "
            "whole-number counts [n, inputs] or float32 rows [n, inputs]"
        )
    check_inputs(name, inputs, image_shape)
    return inputs.contiguous(), image_shape


def _float32(name: str, x: Array) -> Array:
    """A float32 copy of ``x``. Raises ValueError for finite numbers that float32 cannot hold."""
    with np.errstate(over="ignore"):
        small = np.array(x, dtype=np.float32, order="C")
    if np.isinf(small).any() and np.isfinite(x).all():
        raise ValueError(f"{name}: holds {x[np.isinf(small)][0]:g}, too large for float32; scale it down first")
    return small


def to_dataset(raw: RawData, size: int | None) -> Dataset:
    """``raw`` as a Dataset, without the classes that have no examples and, with a notice, the unlabelled examples.

    Raises ValueError as ``to_inputs`` does, and if there are no labels.
    """
    if raw.labels is None:
        raise ValueError(f"{raw.name}: no labels found, expected a class for every example")
    labelled = np.flatnonzero(raw.labels >= 0)
    if len(labelled) < len(raw.labels):
        notice(f"{raw.name}: {len(raw.labels) - len(labelled)} of {len(raw.labels)} examples have no label: left out")
        raw = raw.rows(labelled)
    x, image_shape = to_inputs(raw, size)
    present, y = np.unique(np.asarray(raw.labels), return_inverse=True)
    names = tuple(raw.class_names[code] for code in present.astype(np.int64))
    group = None if raw.group is None else torch.from_numpy(raw.group.astype(np.int64))
    return Dataset(raw.name, x, torch.from_numpy(y.astype(np.int64)), image_shape, names, group)
