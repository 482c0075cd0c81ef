"""Which images lie in a folder and in the folders inside it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks.data.image_file import EXTENSIONS

JUNK = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"})
"""What systems put into folders unasked, in small letters; all else of the kind begins with a dot."""


@dataclass(frozen=True)
class ImageTree:
    """The folder at ``path``: the images and other files directly in it, and its folders; without what is hidden."""

    path: Path
    images: list[Path]
    others: list[Path]
    folders: list["ImageTree"]

    def all_images(self) -> Iterator[Path]:
        """The images at any depth."""
        yield from self.images
        for folder in self.folders:
            yield from folder.all_images()

    @property
    def empty(self) -> bool:
        """Whether there are no images at any depth."""
        return next(self.all_images(), None) is None


def scan(path: Path) -> ImageTree:
    """What is in the folder at ``path``, sorted by name. Raises OSError for one that cannot be read."""
    tree = ImageTree(path, [], [], [])
    with os.scandir(path) as entries:
        there = sorted(entries, key=lambda entry: entry.name)
    for entry in there:
        inside = path / entry.name
        if entry.name.startswith(".") or entry.name.lower() in JUNK:
            continue
        if entry.is_dir():
            tree.folders.append(scan(inside))
        elif inside.suffix.lower() in EXTENSIONS and entry.is_file():
            tree.images.append(inside)
        else:
            tree.others.append(inside)
    return tree
