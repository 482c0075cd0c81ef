"""Train, validation and test parts: those the data state, else by class (or by family of tables) and seed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from common.notice import notice
from tasks.data.raw import Array, RawData

SPLITS = ("train", "valid", "test")
PART_NAMES = {"train": "train", "val": "valid", "valid": "valid", "validation": "valid", "test": "test"}
"""What folders and arrays call the parts."""

HALVES = ("test_a", "test_b")
"""Two halves of the groups of the part "test": one to choose by, where no part is for that, and one to report on."""

STATED = {2: ("train", "test"), 3: SPLITS}
"""What the values 0, 1 (, 2) of a stated split mean, by how many there are."""


def pick_split(tables: Sequence[RawData], split: str, seed: int) -> list[RawData]:
    """The part ``split`` of a table as its data state, else 60/20/20 % of its classes by ``seed``.

    Of several tables it is 60/20/20 % of the families, a table without one being its own, unless all of them state a
    split. One of HALVES is that of each table's "test", by its groups, always the same. Raises ValueError if there is
    no such part or too few classes, families or groups.
    """
    if split in HALVES:
        return [_half(part, split) for part in pick_split(tables, "test", seed)]
    if len(tables) > 1 and all(table.split is not None for table in tables):
        parts = [_stated(table, split) for table in tables if split in _stated_parts(table)]
        if not parts:
            raise ValueError(f"{tables[0].name} and {len(tables) - 1} more: no part {split!r} in any of them")
    elif len(tables) > 1:
        families = sorted({table.family or table.name for table in tables})
        source = tables[0].name.rsplit("/", 1)[0]
        kept = {families[i] for i in _part(f"{source}: table families", len(families), split, seed, smallest=1)}
        parts = [table for table in tables if (table.family or table.name) in kept]
    elif (table := tables[0]).split is not None:
        parts = [_stated(table, split)]
    elif table.labels is not None:
        present = np.unique(table.labels[table.labels >= 0])
        if unlabelled := int((table.labels < 0).sum()):
            notice(f"{table.name}: {unlabelled} of {len(table.labels)} examples have no label: they are in no part")
        classes = present[_part(f"{table.name}: classes", len(present), split, seed, smallest=2)]
        parts = [table.rows(np.flatnonzero(np.isin(table.labels, classes)))]
    else:
        raise ValueError(f"{table.name}: no labels and no split array, so there is no part {split!r} to take")
    return [replace(part, name=f"{part.name}@{split}") for part in parts]


def _half(table: RawData, half: str) -> RawData:
    """The rows of every second of the groups of ``table``, shuffled: "test_a" begins with the first."""
    of_rows = np.zeros(0) if table.group is None else table.group
    groups = np.unique(of_rows)
    if len(groups) < 2:
        raise ValueError(f"{table.name}: no groups to make halves of, expected an array 'group' of two or more values")
    order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(0)).numpy()
    rows = table.rows(np.flatnonzero(np.isin(of_rows, groups[order[HALVES.index(half) :: 2]])))
    return replace(rows, name=f"{table.name.rpartition('@')[0]}@{half}")


def _stated(table: RawData, split: str) -> RawData:
    """The rows that the table's own split array gives to ``split``."""
    part = _stated_parts(table)
    there = [name for name in SPLITS if name in part]
    if split not in there:
        raise ValueError(f"{table.name}: no part {split!r}, this data has {' and '.join(there)}")
    return table.rows(np.flatnonzero(part == split))


def _stated_parts(table: RawData) -> Array:
    """The name of the part of each row, as the table's own split array has it."""
    assert table.split is not None
    values = set(np.unique(table.split).tolist())
    if not (values <= {0, 1, 2} or values <= set(SPLITS)):
        raise ValueError(f"{table.name}: split holds {sorted(values)[:5]}, expected 0 train, 1 test or 0, 1, 2")
    part = table.split
    if values <= {0, 1, 2}:
        part = np.array(STATED[3 if 2 in values else 2])[part.astype(np.int64)]
    return part


def _part(what: str, count: int, split: str, seed: int, smallest: int) -> list[int]:
    """Which of ``count`` things, shuffled by ``seed``, are in ``split``: 60/20/20 %, each part ``smallest`` or more."""
    held_out = max(smallest, round(0.2 * count))
    if count < 2 * held_out + smallest:
        raise ValueError(
            f"{what} are {count} in number, expected at least {3 * smallest} to make train, valid and test parts; "
            f"drop @{split} to take them all"
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    place, ends = SPLITS.index(split), (0, count - 2 * held_out, count - held_out, count)
    return sorted(order[ends[place] : ends[place + 1]])
