"""A data set in memory, with classes, checked once when it is made."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from common.notice import notice

NOISE = "noise"
"""The class of what belongs to no class: a set to be clustered keeps such examples, under the label -1."""

RESIZE_CHUNK = 4096
"""Images resized at a time, which bounds the memory that the interpolation needs."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples ``x`` float32 [n, D] and their classes ``y`` int64 [n] in 0..C-1, every class present.

    Images lie in [0, 1] and are flattened; ``image_shape`` is (H, W) or (H, W, 3), or None for tables and bags of
    words. ``group`` int64 [n] is what else the examples share (font, drawer, icon set), or None. ``labelled`` says
    whether the classes are labels of the data; otherwise they were made from ``x`` alone. Raises ValueError, naming the
    data set, for wrong shapes or dtypes, no examples, values that are not finite or outside [0, 1] in images, and
    classes out of range or without examples.
    """

    name: str
    x: Tensor
    y: Tensor
    image_shape: tuple[int, ...] | None
    class_names: tuple[str, ...]
    group: Tensor | None = None
    labelled: bool = True

    def __post_init__(self) -> None:
        check_inputs(self.name, self.x, self.image_shape)
        n = len(self.x)
        for key, labels in (("y", self.y), ("group", self.group)):
            if labels is not None and (labels.dtype != torch.int64 or labels.shape != (n,)):
                raise ValueError(
                    f"{self.name}: {key} is {labels.dtype} {list(labels.shape)}, expected torch.int64 [{n}], "
                    "one value for each example"
                )
        count = len(self.class_names)
        if int(self.y.min()) < 0 or int(self.y.max()) >= count:
            raise ValueError(
                f"{self.name}: classes run from {int(self.y.min())} to {int(self.y.max())}, expected 0 to {count - 1} "
                f"for {count} class names"
            )
        empty = (torch.bincount(self.y, minlength=count) == 0).nonzero().flatten().tolist()
        if empty:
            raise ValueError(f"{self.name}: class {self.class_names[empty[0]]!r} has no examples")

    def __len__(self) -> int:
        return len(self.x)

    @property
    def inputs(self) -> int:
        """D, the width of an example."""
        return self.x.shape[1]

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    @cached_property
    def counts(self) -> Tensor:
        """The number of examples of each class, int64 [C]."""
        return torch.bincount(self.y)

    @cached_property
    def rows_by_class(self) -> tuple[Tensor, ...]:
        """For each class the places of its examples in ``x``, int64, rising."""
        return torch.argsort(self.y, stable=True).split(self.counts.tolist())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the shapes and bytes of ``x`` and ``y``."""
        return _digest(self.x, self.y)

    @cached_property
    def inputs_fingerprint(self) -> str:
        """The same of ``x`` alone."""
        return _digest(self.x)


def _digest(*tensors: Tensor) -> str:
    """SHA-256, in hex, of the shapes and bytes of ``tensors``."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def check_inputs(name: str, x: Tensor, image_shape: tuple[int, ...] | None) -> None:
    """Check that ``x`` is float32 [n, D] with n, D >= 1, finite and, for images, H·W(·3) wide and in [0, 1].

    Raises ValueError, naming ``name`` and what is wrong.
    """
    if x.dtype != torch.float32 or x.dim() != 2:
        raise ValueError(f"{name}: x is {x.dtype} {list(x.shape)}, expected torch.float32 [examples, inputs]")
    if 0 in x.shape:
        raise ValueError(f"{name}: x has {x.shape[0]} examples of {x.shape[1]} inputs, expected at least 1 of each")
    bad = x.numel() - int(torch.isfinite(x).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {x.numel()} input values are NaN or infinite; clean or fill them first")
    if image_shape is None:
        return
    if len(image_shape) not in (2, 3) or image_shape[2:] not in ((), (3,)) or prod(image_shape) != x.shape[1]:
        raise ValueError(
            f"{name}: image shape {image_shape} does not fit {x.shape[1]} inputs, expected (H, W) or (H, W, 3)"
        )
    low, high = float(x.min()), float(x.max())
    if low < 0 or high > 1:
        raise ValueError(f"{name}: image values run from {low:g} to {high:g}, expected 0 to 1; scale them first")


def of_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """The examples of ``classes`` (each once), which become classes 0, 1, ... in the order given.

    Raises ValueError for no classes, repeated ones or ones the data set does not have.
    """
    if not classes or len(set(classes)) != len(classes) or min(classes) < 0 or max(classes) >= dataset.classes:
        raise ValueError(
            f"{dataset.name}: got classes {list(classes)}, expected at least one, all different, "
            f"of 0 to {dataset.classes - 1}"
        )
    new_class = torch.full((dataset.classes,), -1, dtype=torch.int64)
    new_class[torch.tensor(classes)] = torch.arange(len(classes))
    y = new_class[dataset.y]
    keep = y >= 0
    return Dataset(
        dataset.name,
        dataset.x[keep],
        y[keep],
        dataset.image_shape,
        tuple(dataset.class_names[c] for c in classes),
        None if dataset.group is None else dataset.group[keep],
        dataset.labelled,
    )


def without_labels(dataset: Dataset) -> Dataset:
    """The same examples, all of one class: nothing is left of their labels."""
    return replace(dataset, y=torch.zeros_like(dataset.y), class_names=("examples",), labelled=False)


def suitable(dataset: Dataset, ways: int, examples: int) -> bool:
    """Whether ``dataset`` has ``ways`` classes of at least ``examples`` examples."""
    return int((dataset.counts >= examples).sum()) >= ways


def with_enough(datasets: Sequence[Dataset], ways: int, examples: int) -> list[Dataset]:
    """Those of several ``datasets`` that are ``suitable``, with a notice of how many are not; one alone as it is."""
    what = f"{ways} classes of {examples} examples"
    return fitting(
        datasets,
        lambda dataset: suitable(dataset, ways, examples),
        (what, what),
        "ways, shots, queries or unlabelled shots",
    )


def with_rows(datasets: Sequence[Dataset], examples: int) -> list[Dataset]:
    """Those of several ``datasets`` with as many ``examples``, whatever their labels; else as ``with_enough``."""
    what = f"{examples} examples"
    return fitting(datasets, lambda one: len(one) >= examples, (what, what), "ways, shots, queries or unlabelled shots")


def fitting(
    datasets: Sequence[Dataset], fits: Callable[[Dataset], bool], what: tuple[str, str], lower: str
) -> list[Dataset]:
    """Those of several ``datasets`` that ``fits``, with a notice of how many do not; one alone as it is.

    ``what`` says what none has, and what those left out lack. Raises ValueError, which says what to ``lower``, where
    none fits.
    """
    if len(datasets) == 1:
        return list(datasets)
    found = [dataset for dataset in datasets if fits(dataset)]
    if not found:
        raise ValueError(f"{datasets[0].name} and {len(datasets) - 1} more: none has {what[0]}; lower {lower}")
    if left_out := len(datasets) - len(found):
        notice(f"{found[0].name} and so on: left out {left_out} of {len(datasets)} data sets, which lack {what[1]}")
    return found


def clusters_of(dataset: Dataset) -> Tensor:
    """The classes of ``dataset`` but NOISE, int64."""
    return torch.tensor([place for place, name in enumerate(dataset.class_names) if name != NOISE])


def resize(images: Tensor, size: int) -> Tensor:
    """Images [n, H, W] or [n, H, W, 3], float in [0, 1], as [n, S, S] or [n, S, S, 3] with S = ``size``.

    Bilinear and antialiased, so that shrinking averages over all of the pixels it merges. Raises ValueError for a size
    below 1.
    """
    if size < 1:
        raise ValueError(f"got image size {size}, expected 1 or more")
    if images.shape[1:3] == (size, size):
        return images
    colour = images.dim() == 4
    planes = images.permute(0, 3, 1, 2) if colour else images.unsqueeze(1)
    chunks = [
        F.interpolate(chunk, size=(size, size), mode="bilinear", antialias=True, align_corners=False)
        for chunk in planes.split(RESIZE_CHUNK)
    ]
    resized = torch.cat(chunks).clamp_(0.0, 1.0)  # rounding may leave the range by one unit in the last place
    return resized.permute(0, 2, 3, 1) if colour else resized.squeeze(1)
