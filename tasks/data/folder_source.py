"""``folder:FOLDER``: image files, one sub-folder a class; or, unlabelled, images directly inside; in parts or not."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.notice import notice
from tasks.data.image_file import EXTENSIONS
from tasks.data.image_stack import read_images
from tasks.data.image_tree import ImageTree, scan
from tasks.data.raw import Array, RawData
from tasks.data.splits import PART_NAMES, SPLITS

LAYOUTS = "FOLDER/CLASS/IMAGE, FOLDER/IMAGE without classes, or either in FOLDER/train, val and test"


def read_folder(location: str, size: int | None) -> list[RawData]:
    """The images under ``location`` as ``image_stack.read_images`` gives them; classes and parts are sub-folders.

    Hidden files and those of the system are passed over, other files and empty folders with a notice. Raises OSError
    if the folder is not there or holds no images, ValueError for other layouts and as ``read_images`` does.
    """
    folder = Path(location)
    if not folder.is_dir():
        what = "a file, expected a folder; unpack it first" if folder.exists() else "no such folder"
        raise FileNotFoundError(f"{folder}: {what}")
    name, tree = f"folder:{folder.resolve().name}", scan(folder)
    inside = [part for part in tree.folders if not part.empty]
    in_parts = bool(inside) and not tree.images and all(part.path.name.lower() in PART_NAMES for part in inside)
    parts = [(PART_NAMES[part.path.name.lower()], part) for part in inside] if in_parts else [("", tree)]
    if len({part for part, _ in parts}) < len(parts):
        raise ValueError(f"{folder}: {' and '.join(part.path.name for part in inside)}, expected each part once")
    found: list[tuple[Path, str, str]] = []
    for part, branch in sorted(parts, key=lambda one: ("", *SPLITS).index(one[0])):
        found += [(image, label, part) for label, images in _classes(branch).items() for image in images]
    _say_what_is_left_out(name, tree)
    if not found:
        raise FileNotFoundError(f"{folder}: no images of {' '.join(sorted(EXTENSIONS))}, expected {LAYOUTS}")
    paths, given, split_of = (list(column) for column in zip(*found, strict=True))
    ids = np.array([path.relative_to(folder).as_posix() for path in paths])
    x, split = read_images(name, paths, size), np.array(split_of) if in_parts else None
    class_names = in_order(set(given) - {""})
    if not class_names:
        return [RawData(name, x, split=split, ids=ids)]
    place = {"": -1} | {label: code for code, label in enumerate(class_names)}
    labels = np.array([place[label] for label in given])
    return [RawData(name, x, labels, class_names, split=split, given=np.array(given), ids=ids)]


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """``names`` sorted, as numbers where all are numbers: 2 comes before 10."""
    numbers = all(re.fullmatch("-?[0-9]+", name) for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))


def read_classes(name: str, folder: Path, files: Mapping[str, Sequence[Path]], size: int | None) -> RawData:
    """The images in the ``files`` of each class, class by class, called as in ``folder``. Raises as ``read_images``."""
    labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
    paths = [path for paths in files.values() for path in paths]
    given: Array = np.array(list(files))[labels]
    ids = np.array([path.relative_to(folder).as_posix() for path in paths])
    return RawData(name, read_images(name, paths, size), labels, tuple(files), given=given, ids=ids)


def _classes(tree: ImageTree) -> dict[str, list[Path]]:
    """The images of each class in ``tree``; those of no class under "". Raises ValueError for other layouts."""
    classes = {folder.path.name: folder.images for folder in tree.folders if folder.images}
    if tree.images and classes:
        raise ValueError(
            f"{tree.path}: {len(tree.images)} images beside {len(classes)} class folders, expected one or the other"
        )
    deeper = (image for folder in tree.folders for below in folder.folders for image in below.all_images())
    if image := next(deeper, None):
        raise ValueError(f"{tree.path}: an image lies at {image.relative_to(tree.path)}, expected {LAYOUTS}")
    return {"": tree.images} if tree.images else classes


def _say_what_is_left_out(name: str, tree: ImageTree) -> None:
    """Notices of the files in ``tree`` that are no images, and of the folders without any."""

    def walk(branch: ImageTree) -> Iterator[ImageTree]:
        yield branch
        for folder in branch.folders:
            yield from walk(folder) if not folder.empty else [folder]

    branches = list(walk(tree))
    empty = [branch.path for branch in branches if branch.empty and branch is not tree]
    others = [path for branch in branches if not branch.empty or branch is tree for path in branch.others]
    for what, paths in (("files that are no images", others), ("folders without images", empty)):
        if paths:
            some = ", ".join(path.relative_to(tree.path).as_posix() for path in paths[:3])
            notice(f"{name}: left out {what}: {some}" + (f" and {len(paths) - 3} more" if len(paths) > 3 else ""))
