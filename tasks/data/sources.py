"""SOURCE strings, ``SCHEME[:ARGUMENT][@SPLIT]``, and what they load."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from tasks.data.csv_source import read_csv
from tasks.data.folder_source import read_folder
from tasks.data.glyphs import glyphs
from tasks.data.idx_source import read_idx
from tasks.data.miniimagenet_source import read_miniimagenet
from tasks.data.npz_source import read_npz
from tasks.data.omniglot_source import read_omniglot, with_rotations
from tasks.data.openml_source import read_openml
from tasks.data.packaged import digits, mnist5k
from tasks.data.raw import RawData, to_dataset, to_inputs
from tasks.data.sklearn_source import read_sklearn
from tasks.data.splits import SPLITS, pick_split
from tasks.dataset import Dataset

BUILT_IN: dict[str, Callable[[], RawData]] = {"digits": digits, "glyphs": glyphs, "mnist5k": mnist5k}
"""Sources that need no argument."""

Reader = Callable[[str, int | None, bool], list[RawData]]
"""Argument, image size to read at (None: as stored) and whether labels are needed -> the data there."""

WITH_ARGUMENT: dict[str, tuple[str, Reader]] = {
    "npz": ("FILE", lambda argument, size, labelled: read_npz(argument)),
    "idx": ("FOLDER", lambda argument, size, labelled: read_idx(argument)),
    "folder": ("FOLDER", lambda argument, size, labelled: read_folder(argument, size)),
    "csv": ("FILE", lambda argument, size, labelled: read_csv(argument, labelled)),
    "openml": ("NAME", lambda argument, size, labelled: read_openml(argument)),
    "sklearn": ("NAME", lambda argument, size, labelled: read_sklearn(argument)),
}
"""Sources that read what their argument names: scheme -> (what the argument is, reader)."""

OWN_SPLIT: dict[str, tuple[str, Callable[[str, int | None, str | None], RawData]]] = {
    "omniglot": ("FOLDER", read_omniglot),
    "omniglot_rotated": ("FOLDER", lambda argument, size, split: with_rotations(read_omniglot(argument, size, split))),
    "miniimagenet": ("FOLDER", read_miniimagenet),
}
"""The same for sources with a usual split of their own, whose readers read the part that is asked for alone."""


def load_source(source: str, *, size: int | None = None, seed: int = 0) -> list[Dataset]:
    """The data sets of ``source``: one, or several for an npz of many tables.

    ``SOURCE`` is ``digits``, ``glyphs``, ``mnist5k``, ``npz:FILE``, ``idx:FOLDER``, ``folder:FOLDER``, ``csv:FILE``,
    ``openml:NAME``, ``sklearn:NAME``, ``omniglot:FOLDER``, ``omniglot_rotated:FOLDER`` or ``miniimagenet:FOLDER``, with
    ``@train``, ``@valid`` or ``@test`` behind it for one part: the last three have splits of their own, for the others
    see ``splits.pick_split``, which alone uses ``seed``. Images are resized to ``size`` × ``size``; tables are left
    alone. Raises ValueError or OSError with one line that names what is wrong.
    """
    return [to_dataset(raw, size) for raw in _read(source, size, seed, labelled=True)]


def load_inputs(source: str, *, size: int | None = None, seed: int = 0) -> tuple[Tensor, tuple[int, ...] | None]:
    """The inputs float32 [n, D] of ``source`` and the image shape (None for tables); it need not have labels.

    Arguments and errors as for ``load_source``; ValueError also where the source holds several tables.
    """
    tables = _read(source, size, seed, labelled=False)
    if len(tables) > 1:
        raise ValueError(f"{source}: {len(tables)} tables, expected one")
    return to_inputs(tables[0], size)


def _read(source: str, size: int | None, seed: int, labelled: bool) -> list[RawData]:
    """What ``source`` holds, after its split is picked."""
    if size is not None and size < 1:
        raise ValueError(f"got image size {size}, expected 1 or more")
    location, split = _parse_split(source)
    scheme, colon, argument = location.partition(":")
    named = {name: what for table in (WITH_ARGUMENT, OWN_SPLIT) for name, (what, _) in table.items()}
    known = [*BUILT_IN, *(f"{name}:{what}" for name, what in named.items())]
    if scheme in BUILT_IN and not colon:
        tables = [BUILT_IN[scheme]()]
    elif scheme in WITH_ARGUMENT and argument:
        tables = WITH_ARGUMENT[scheme][1](argument, size, labelled)
    elif scheme in OWN_SPLIT and argument:
        return [OWN_SPLIT[scheme][1](argument, size, split)]
    else:
        near = get_close_matches(scheme, [*BUILT_IN, *named], n=1)
        hint = f"; did you mean {next(k for k in known if k.partition(':')[0] == near[0])}?" if near else ""
        raise ValueError(
            f"unknown source {source!r}, expected {', '.join(known)}, if need be with @train, @valid or @test{hint}"
        )
    return tables if split is None else pick_split(tables, split, seed)


def _parse_split(source: str) -> tuple[str, str | None]:
    """``source`` without its split, and the split."""
    location, at, split = source.rpartition("@")
    if not at:
        return source, None
    if split in SPLITS:
        return location, split
    path = Path(source.partition(":")[2])
    if not re.fullmatch(r"\w*", split) or (path.name and path.exists()):
        return source, None  # the @ belongs to a path
    near = get_close_matches(split, SPLITS, n=1)
    hint = f"; did you mean @{near[0]}?" if near else ""
    raise ValueError(f"unknown split @{split} in {source!r}, expected @train, @valid or @test{hint}")
