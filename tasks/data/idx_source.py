"""``idx:FOLDER``: the file layout of MNIST, plain or gzipped.

Format: two zero bytes, a type code, the number of axes, each axis as a big-endian 32-bit number, then the values.
"""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from tasks.data.raw import Array, RawData, class_codes

UINT8 = 0x08
PARTS = ("train", "t10k")
"""The official training and test part, in the order of the split codes 0 and 1."""


def read_idx(location: str) -> list[RawData]:
    """The images uint8 [n, h, w] and labels in folder ``location``: train-images-idx3-ubyte, train-labels-idx1-ubyte
    and the same with t10k, each with or without ``.gz``. Either part, and the labels of each, may be missing.

    Raises FileNotFoundError if there is neither part or labels lack their images, ValueError for a damaged file.
    """
    folder = Path(location)
    name = f"idx:{folder.resolve().name}"
    images: list[Array] = []
    labels: list[Array | None] = []
    split: list[Array] = []
    for code, part in enumerate(PARTS):
        path, label_path = _find(folder, f"{part}-images", 3), _find(folder, f"{part}-labels", 1)
        if path is None and label_path is not None:
            raise FileNotFoundError(f"{folder}: {label_path.name} is there but no {part}-images-idx3-ubyte(.gz)")
        if path is None:
            continue
        images.append(read_idx_file(path, 3))
        labels.append(None if label_path is None else read_idx_file(label_path, 1))
        if (given := labels[-1]) is not None and len(images[-1]) != len(given):
            raise ValueError(f"{folder}: {len(images[-1])} images in {path.name} and {len(given)} labels")
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise ValueError(f"{folder}: images of {images[0].shape[1:]} and {images[-1].shape[1:]}, expected one size")
        split.append(np.full(len(images[-1]), code))
    if not images:
        wanted = " or ".join(f"{part}-images-idx3-ubyte(.gz)" for part in PARTS)
        raise FileNotFoundError(
            f"{folder}: {'no' if folder.is_dir() else 'no such folder, expected one with'} {wanted}"
        )
    x, parts = np.concatenate(images), np.concatenate(split)
    if all(given is None for given in labels):
        return [RawData(name, x, split=parts)]
    counts = [len(part) for part in images]
    y = np.concatenate([np.full(n, -1) if part is None else part for n, part in zip(counts, labels, strict=True)])
    codes = np.full(len(y), -1, np.int64)
    codes[y >= 0], class_names = class_codes(name, y[y >= 0])
    return [RawData(name, x, codes, class_names, split=parts, given=y)]


def _find(folder: Path, stem: str, axes: int) -> Path | None:
    """The file of that stem, with the spellings that are around."""
    spellings = (f"{stem}{dash}idx{axes}-ubyte{gz}" for dash in "-." for gz in ("", ".gz"))
    return next((folder / spelling for spelling in spellings if (folder / spelling).is_file()), None)


def read_idx_file(path: Path, axes: int) -> Array:
    """The uint8 array with ``axes`` axes in one idx file. Raises ValueError for anything else or a cut-off file."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error})") from None
    header = 4 + 4 * axes
    if len(data) < header or data[:4] != bytes([0, 0, UINT8, axes]):
        raise ValueError(f"{path}: not an idx file of bytes with {axes} axes")
    shape = tuple(int.from_bytes(data[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes))
    if len(data) != header + prod(shape):
        raise ValueError(f"{path}: {len(data) - header} values, expected {prod(shape)} for shape {list(shape)}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
