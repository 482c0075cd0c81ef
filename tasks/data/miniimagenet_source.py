"""``miniimagenet:FOLDER``: miniImageNet (Vinyals et al., 2016) with its own 64, 16 and 20 classes, in either layout.

``FOLDER/train|val|test/CLASS/*.jpg``, or ``FOLDER/images/*.jpg`` with ``train.csv``, ``val.csv`` and ``test.csv`` of
columns filename and label (Ravi and Larochelle, 2017). Inputs are float32: at a size of 84 the 38,400 images of
``@train`` take 3.3 GB, and 5 GB while they are read; at 42, a quarter of that.
"""

import csv
from pathlib import Path

from tasks.data.folder_source import read_classes
from tasks.data.image_tree import scan
from tasks.data.raw import RawData

PARTS = {"train": "train", "valid": "val", "test": "test"}
"""What folders and tables call each split."""


def read_miniimagenet(location: str, size: int | None, split: str | None) -> RawData:
    """The images of ``split`` (None: of all that are there) under ``location``, resized to ``size`` if given.

    Raises OSError if the folder, the split or an image is not there; ValueError for a table that lacks a column, a
    class in two splits, a file that is no image and, without a size, images of differing sizes.
    """
    folder = Path(location)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    found = {part: classes for part, name in PARTS.items() if (classes := _files(folder, name))}
    if not found or (split is not None and split not in found):
        what = "no images" if split is None else f"no part {PARTS[split]!r}"
        raise FileNotFoundError(
            f"{folder}: {what}, expected train/CLASS/*.jpg, val and test, or images/ and train.csv, val.csv, test.csv"
        )
    wanted = list(found) if split is None else [split]
    files: dict[str, list[Path]] = {}
    for part in wanted:
        for other in sorted(found.keys() - {part}):
            shared = sorted(found[part].keys() & found[other].keys())
            if shared:
                raise ValueError(f"{folder}: class {shared[0]!r} is in {part} and {other}, expected it in one of them")
        files |= found[part]
    name = f"miniimagenet:{folder.resolve().name}" + (f"@{split}" if split else "")
    return read_classes(name, folder, files, size)


def _files(folder: Path, part: str) -> dict[str, list[Path]]:
    """The images of each class of ``part``, by name; none where it is not there."""
    table = folder / f"{part}.csv"
    if table.is_file():
        return _listed(table, folder / "images")
    inside = scan(folder / part).folders if (folder / part).is_dir() else []
    return {branch.path.name: branch.images for branch in inside if branch.images}


def _listed(table: Path, images: Path) -> dict[str, list[Path]]:
    """The images of each class that ``table`` lists."""
    files: dict[str, list[Path]] = {}
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if not {"filename", "label"} <= set(reader.fieldnames or ()):
                raise ValueError(f"{table}: columns {reader.fieldnames}, expected filename and label")
            for row in reader:
                files.setdefault(str(row["label"]), []).append(images / str(row["filename"]))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a table of text: {error}") from None
    missing = next((path for paths in files.values() for path in paths if not path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{missing}: no such image, expected it since {table.name} lists it")
    return dict(sorted(files.items()))
