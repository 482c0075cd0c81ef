"""SOURCE strings, ``NAME[@SPLIT]`` or ``SCHEME:ARGUMENT[@SPLIT]``, and what they load."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from common.home_folder import expanded
from common.scaling import Standardise
from tasks.data.by_group import by_group
from tasks.data.clusters.synthetic import clusters
from tasks.data.contract import read_own
from tasks.data.folder_source import read_folder
from tasks.data.glyphs import glyphs
from tasks.data.idx_source import read_idx
from tasks.data.miniimagenet_source import read_miniimagenet
from tasks.data.named_source import OFFICIAL_PARTS, find_data_set, read_official
from tasks.data.npz_source import read_npz
from tasks.data.omniglot_source import read_omniglot, with_rotations
from tasks.data.openml_source import read_openml
from tasks.data.packaged import digits, mnist5k
from tasks.data.raw import Array, RawData, to_dataset, to_inputs
from tasks.data.recipes.registry import RECIPES
from tasks.data.reference_sets import SUITE
from tasks.data.sklearn_source import read_sklearn
from tasks.data.splits import HALVES, SPLITS, pick_split
from tasks.data.standardised import standardised
from tasks.data.toys import toys
from tasks.dataset import Dataset

if TYPE_CHECKING:
    from tasks.data.table_columns import TableColumns

BUILT_IN: dict[str, Callable[[], list[RawData]]] = {
    "digits": lambda: [digits()],
    "glyphs": lambda: [glyphs()],
    "mnist5k": lambda: [mnist5k()],
    "toys": toys,
}
"""Sources that need no argument."""

MADE: dict[str, tuple[str, Callable[[str, str | None], list[RawData]]]] = {"clusters": ("FAMILY", clusters)}
"""Sources that make what their argument names, of a split, on the scale that it is to have."""


@dataclass(frozen=True)
class Reading:
    """How data are read: images resized to ``size`` if given, whether classes are needed, the column of a table that
    holds them if one is named, and the columns that become inputs where another table has decided that."""

    size: int | None = None
    labelled: bool = True
    label: str | None = None
    columns: "TableColumns | None" = None


Reader = Callable[[str, Reading], list[RawData]]
"""Argument and how it is to be read -> the data there."""


def _read_csv(argument: str, how: Reading) -> list[RawData]:
    from tasks.data.csv_source import read_csv  # importing pandas takes long

    return read_csv(argument, how.labelled, how.label, how.columns)


WITH_ARGUMENT: dict[str, tuple[str, Reader]] = {
    "npz": ("FILE", lambda argument, how: read_npz(argument, how.labelled)),
    "idx": ("FOLDER", lambda argument, how: read_idx(argument)),
    "folder": ("FOLDER", lambda argument, how: read_folder(argument, how.size)),
    "csv": ("FILE", _read_csv),
    "openml": ("NAME", lambda argument, how: read_openml(argument)),
    "sklearn": ("NAME", lambda argument, how: read_sklearn(argument)),
}
"""Sources that read what their argument names: scheme -> (what the argument is, reader)."""

OWN_SPLIT: dict[str, tuple[str, Callable[[str, int | None, str | None], RawData]]] = {
    "omniglot": ("FOLDER", read_omniglot),
    "omniglot_rotated": ("FOLDER", lambda argument, size, split: with_rotations(read_omniglot(argument, size, split))),
    "miniimagenet": ("FOLDER", read_miniimagenet),
}
"""The same for sources with a usual split of their own, whose readers read the part that is asked for alone."""


class Inputs(NamedTuple):
    """Inputs ``x`` [n, D] in the order of the source, float64 in tables of fractions and else float32.

    ``image_shape`` is None for tables; ``ids`` [n] are what the examples are called, their places from 0 where they
    have no names; ``given`` [n] are their labels as they stood there, None without any, ``classes`` [n] the places of
    these in ``class_names``, -1 for none; ``columns`` say how the columns of a table became inputs, None where they
    were inputs already.
    """

    x: Tensor
    image_shape: tuple[int, ...] | None
    ids: Array
    given: Array | None
    classes: Array | None
    class_names: tuple[str, ...]
    columns: "TableColumns | None"

    def standardise(self, asked: Standardise) -> Standardise:
        """What ``asked`` means for them: pixels stay as they are unless one says otherwise."""
        return False if self.image_shape is not None and asked == "auto" else asked


def load_source(
    source: str,
    *,
    size: int | None = None,
    seed: int = 0,
    label: str | None = None,
    standardise: Standardise = "auto",
) -> list[Dataset]:
    """The data sets of ``source``: one, or several for an npz of many tables.

    ``SOURCE`` is ``digits``, ``glyphs``, ``mnist5k``, ``toys``, ``npz:FILE``, ``idx:FOLDER``, ``folder:FOLDER``,
    ``csv:FILE``, ``openml:NAME``, ``sklearn:NAME``, ``clusters:FAMILY``, ``omniglot:FOLDER``,
    ``omniglot_rotated:FOLDER`` or ``miniimagenet:FOLDER``, with ``@train``, ``@valid`` or ``@test`` behind it for one
    part: the last four have splits of their own, for the others see ``splits.pick_split``, which alone uses ``seed``.
    Any other name is that of a data set in the data folder (``named_source``), of which Omniglot has ``@background``
    and ``@evaluation`` too; ``my_module:MyData`` is a ``DataSource`` of one's own; ``NAME#ARRAY`` and
    ``npz:FILE#ARRAY`` are several data sets (``by_group``). Images are resized to ``size`` × ``size``; columns of
    tables are standardised as ``common.scaling.scaling`` says. ``label`` names the column of classes in ``csv:FILE``.
    Raises ValueError or OSError with one line that names what is wrong.
    """
    return [to_dataset(raw, size) for raw in _read(source, Reading(size, label=label), seed, standardise)]


def load_inputs(
    source: str,
    *,
    size: int | None = None,
    seed: int = 0,
    label: str | None = None,
    columns: "TableColumns | None" = None,
) -> Inputs:
    """The inputs of ``source``, as they are there; it need not have labels.

    A table's columns become inputs as ``columns`` say. An empty ``label`` stands for no labels at all. Arguments and
    errors else as for ``load_source``; ValueError also where the source holds several tables.
    """
    tables = _read(source, Reading(size, False, label, columns), seed, standardise=False)
    if len(tables) > 1:
        raise ValueError(f"{source}: {len(tables)} tables, expected one")
    (raw,) = tables
    if raw.x.ndim == 2 and raw.x.dtype == np.float64 and raw.x.size and np.isfinite(raw.x).all():
        x, image_shape = torch.from_numpy(np.array(raw.x, order="C")), None  # scaled by who takes it, then float32
    else:
        x, image_shape = to_inputs(raw, size)
    ids = np.arange(len(x)).astype(str) if raw.ids is None else raw.ids
    if label == "":
        return Inputs(x, image_shape, ids, None, None, (), raw.columns)
    given = raw.labels if raw.given is None else raw.given
    return Inputs(x, image_shape, ids, given, raw.labels, raw.class_names, raw.columns)


def _read(source: str, how: Reading, seed: int, standardise: Standardise) -> list[RawData]:
    """What ``source`` holds, after its split is picked."""
    if how.size is not None and how.size < 1:
        raise ValueError(f"got image size {how.size}, expected 1 or more")
    location, split = _parse_split(source)
    scheme, colon, argument = location.partition(":")
    argument = expanded(argument)
    base, hash_sign, key = argument.rpartition("#") if colon else scheme.rpartition("#")
    grouped = hash_sign and (not colon or (scheme == "npz" and not Path(argument).exists()))
    if grouped and (path := Path(base) if colon else find_data_set(base)) is not None:
        (whole, *more) = read_npz(str(path), how.labelled, None if colon else path.stem)
        if more:
            raise ValueError(f"{source}: {len(more) + 1} tables, expected one data set to take apart by {key}")
        return by_group(standardised(whole, standardise), path, key, split, seed)
    named = {name: what for table in (WITH_ARGUMENT, MADE, OWN_SPLIT) for name, (what, _) in table.items()}
    known = [*BUILT_IN, *RECIPES, "NAME of data/NAME.npz", *(f"{name}:{what}" for name, what in named.items())]
    if (how.label or how.columns is not None) and scheme != "csv":
        raise ValueError(f"{source}: has no columns with titles, expected csv:FILE")
    if scheme not in BUILT_IN and not colon and (path := find_data_set(scheme)) is not None:
        if split in OFFICIAL_PARTS:
            return [read_official(path, str(split), how.labelled)]
        tables = [standardised(table, standardise) for table in read_npz(str(path), how.labelled, path.stem)]
        return tables if split is None else pick_split(tables, split, seed)
    if split in OFFICIAL_PARTS:
        raise ValueError(f"{location}: no part {split!r}, which the data set omniglot alone has")
    if scheme in BUILT_IN and not colon:
        tables = BUILT_IN[scheme]()
    elif scheme in MADE and argument:
        return MADE[scheme][1](argument, split)
    elif scheme in WITH_ARGUMENT and argument:
        tables = [standardised(table, standardise) for table in WITH_ARGUMENT[scheme][1](argument, how)]
    elif scheme in OWN_SPLIT and argument:
        return [OWN_SPLIT[scheme][1](argument, how.size, split)]
    elif _is_a_class(scheme, argument):
        tables = [standardised(table, standardise) for table in read_own(location)]
    elif scheme == SUITE:
        raise ValueError(f"{source}: reference partitions, which scripts/evaluate.py alone reads")
    else:
        near = get_close_matches(scheme, [*BUILT_IN, *RECIPES, *named], n=1)
        if Path(source).is_file():
            near = ["csv" if Path(source).suffix in (".csv", ".tsv", ".txt", ".gz") else "npz"]
            raise ValueError(f"unknown source {source!r}; did you mean {near[0]}:{source}?")
        hint = f"; did you mean {next(k for k in known if k.partition(':')[0] == near[0])}?" if near else ""
        raise ValueError(
            f"unknown source {source!r}, expected {', '.join(known)} or my_module:MyData of a module that "
            f"Python finds here or on PYTHONPATH, if need be with @train, @valid or @test{hint}"
        )
    return tables if split is None else pick_split(tables, split, seed)


def place_of(source: str) -> str:
    """Where the data of ``source`` lie, whichever part of them it is and from wherever the path is given.

    Of a file these are the names of its folder and its own, which other machines have too.
    """
    location, _ = _parse_split(source)
    scheme, colon, argument = location.partition(":")
    reads, _ = {**WITH_ARGUMENT, **OWN_SPLIT}.get(scheme, ("", None))
    if colon and reads in ("FILE", "FOLDER"):
        whole = Path(expanded(argument))
        path = whole if whole.exists() else Path(expanded(argument.rpartition("#")[0]))
    else:
        path = Path()
        with suppress(FileNotFoundError):  # data that are not here are judged nowhere here
            path = find_data_set(location.partition("#")[0]) or path
    return f"{path.resolve().parent.name}/{path.stem}" if path.name and path.exists() else location.partition("#")[0]


def _is_a_class(module: str, name: str) -> bool:
    """Whether ``name`` may be a class of a ``module`` that Python finds."""
    try:
        return name.isidentifier() and find_spec(module) is not None
    except Exception:  # no package has it, it is no name of a module, or the package fails to import
        return False


def _parse_split(source: str) -> tuple[str, str | None]:
    """``source`` without its split, and the split."""
    location, at, split = source.rpartition("@")
    if not at:
        return source, None
    if split in (*SPLITS, *HALVES) or (split in OFFICIAL_PARTS and ":" not in location):
        return location, split
    path = Path(source.partition(":")[2])
    if not re.fullmatch(r"\w*", split) or (path.name and path.exists()):
        return source, None  # the @ belongs to a path
    near = get_close_matches(split, SPLITS, n=1)
    hint = f"; did you mean @{near[0]}?" if near else ""
    raise ValueError(f"unknown split @{split} in {source!r}, expected @train, @valid or @test{hint}")
