"""``omniglot:FOLDER``: the Omniglot characters (Lake et al., 2015) as their authors lay them out.

``ALPHABET/characterNN/*.png`` lie in ``FOLDER/images_background`` and ``FOLDER/images_evaluation``, or in ``FOLDER``
itself, which takes one of these two alone. A class is a character, a group an alphabet. Ink is made bright.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tasks.data.folder_source import read_classes
from tasks.data.image_tree import ImageTree, scan
from tasks.data.raw import RawData

PARTS = ("images_background", "images_evaluation")

SHARES = {"train": 1100, "valid": 100, "test": 423}
"""Characters of each split, of 1623 in all (Hsu et al., 2019); in proportion where there are fewer."""

SPLIT_SEED = 0
"""Decides which characters. It is fixed, as a benchmark's split is: the seed of a run does not move it."""


def read_omniglot(location: str, size: int | None, split: str | None) -> RawData:
    """The characters of ``split`` (None: all) under ``location``, uint8 [n, h, w], resized to ``size`` if given.

    Characters of all alphabets are sorted by name, shuffled by SPLIT_SEED and dealt to train, valid and test. Raises
    OSError if the folder is not there or incomplete, ValueError for a file that is no image and for an empty split.
    """
    folder = Path(location)
    name = f"omniglot:{folder.resolve().name}" + (f"@{split}" if split else "")
    characters = {f"{one.path.parent.name}/{one.path.name}": one.images for one in _characters(folder)}
    names = sorted(characters)
    if split is not None:
        names = [names[place] for place in _dealt(len(names), split)]
        if not names:
            raise ValueError(f"{name}: none of {len(characters)} characters, expected enough for every split")
    read = read_classes(name, folder, {key: characters[key] for key in names}, size)
    alphabets = np.unique([key.partition("/")[0] for key in names], return_inverse=True)[1]
    white = 255 if read.x.dtype == np.uint8 else 1
    return replace(read, x=white - read.x, group=alphabets[read.labels])


def _characters(folder: Path) -> list[ImageTree]:
    """The folder of every character."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    there = [folder / part for part in PARTS if (folder / part).is_dir()]
    if len(there) == 1:
        missing = next(part for part in PARTS if folder / part not in there)
        raise FileNotFoundError(f"{folder}: {missing} is missing; to take the other part alone, name {there[0]}")
    alphabets = [alphabet for part in there or [folder] for alphabet in scan(part).folders]
    found = [character for alphabet in alphabets for character in alphabet.folders if character.images]
    if not found:
        raise FileNotFoundError(f"{folder}: no images, expected {' and '.join(PARTS)}, or ALPHABET/CHARACTER/*.png")
    return found


def _dealt(count: int, split: str) -> list[int]:
    """Which of ``count`` characters are in ``split``, in order."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED)).tolist()
    total = sum(SHARES.values())
    train, valid = (round(count * SHARES[part] / total) for part in ("train", "valid"))
    ends = {"train": (0, train), "valid": (train, train + valid), "test": (train + valid, count)}
    start, end = ends[split]
    return sorted(order[start:end])


def with_rotations(raw: RawData) -> RawData:
    """``raw`` with its images [n, h, w], h = w, turned by 0, 90, 180 and 270 degrees, each turn of a class a class.

    Four times as many images and classes (Vinyals et al., 2016). Raises ValueError if the images are not square.
    """
    assert raw.labels is not None
    assert raw.group is not None
    if raw.x.shape[1] != raw.x.shape[2]:
        raise ValueError(f"{raw.name}: images of {raw.x.shape[1]} × {raw.x.shape[2]}, expected squares, or give a size")
    labels = np.concatenate([raw.labels + turns * len(raw.class_names) for turns in range(4)])
    class_names = tuple(f"{name}, {90 * turns} degrees" for turns in range(4) for name in raw.class_names)
    return RawData(
        raw.name.replace("omniglot", "omniglot_rotated", 1),
        np.concatenate([np.rot90(raw.x, turns, axes=(1, 2)) for turns in range(4)]),
        labels,
        class_names,
        np.tile(raw.group, 4),
        given=np.array(class_names)[labels],
        ids=None if raw.ids is None else np.array([f"{id}, {90 * t} degrees" for t in range(4) for id in raw.ids]),
    )
