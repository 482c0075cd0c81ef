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
    and the same with t10k, each with or without ``.gz``. Either part may be missing.

    Raises FileNotFoundError if there is neither part or a part has no labels, ValueError for a damaged file.
    """
    folder = Path(location)
    name = f"idx:{folder.resolve().name}"
    images: list[Array] = []
    labels: list[Array] = []
    split: list[Array] = []
    for code, part in enumerate(PARTS):
        path = _find(folder, f"{part}-images", 3)
        if path is None:
            continue
        label_path = _find(folder, f"{part}-labels", 1)
        if label_path is None:
            raise FileNotFoundError(f"{folder}: {path.name} is there but no {part}-labels-idx1-ubyte(.gz)")
        images.append(read_idx_file(path, 3))
        labels.append(read_idx_file(label_path, 1))
        if len(images[-1]) != len(labels[-1]):
            raise ValueError(f"{folder}: {len(images[-1])} images in {path.name} and {len(labels[-1])} labels")
        if images[-1].shape[1:] != images[0].shape[1:]:
            raise ValueError(f"{folder}: images of {images[0].shape[1:]} and {images[-1].shape[1:]}, expected one size")
        split.append(np.full(len(labels[-1]), code))
    if not images:
        wanted = " or ".join(f"{part}-images-idx3-ubyte(.gz)" for part in PARTS)
        raise FileNotFoundError(
            f"{folder}: {'no' if folder.is_dir() else 'no such folder, expected one with'} {wanted}"
        )
    codes, class_names = class_codes(name, np.concatenate(labels))
    return [RawData(name, np.concatenate(images), codes, class_names, split=np.concatenate(split))]


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
