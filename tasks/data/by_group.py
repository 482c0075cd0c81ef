"""``NAME#ARRAY``: a data set as several, one for each value of one of its arrays, such as ``omniglot#alphabet``."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.data.npz_source import read_arrays
from tasks.data.raw import RawData, class_codes
from tasks.data.splits import pick_split


def by_group(whole: RawData, path: Path, key: str, split: str | None, seed: int) -> list[RawData]:
    """The examples of ``whole``, of the npz file ``path``, apart by the array ``key`` [n], called ``name#value``.

    Values are named by the array ``<key>_names`` where there is one. A ``split`` that the data state is that of
    examples, any other one of values. Raises ValueError where there is no such array of one value an example, and for
    values that point to no name.
    """
    found = read_arrays(path, (key,), optional=(f"{key}_names",))
    values = found[key]
    if values.shape != (len(whole.x),) or values.dtype.kind not in "iuUb":
        raise ValueError(
            f"{whole.name}: array {key!r} is {values.dtype} {list(values.shape)}, expected one whole number or text "
            "for each example"
        )
    codes, names = class_codes(f"{whole.name}#{key}", values, found.get(f"{key}_names"))
    part = replace(whole, group=codes)
    stated = split is not None and whole.split is not None
    if stated:
        (part,) = pick_split([part], str(split), seed)
    assert part.group is not None
    parts = []
    for code in np.unique(part.group).tolist():
        rows = part.rows(np.flatnonzero(part.group == code))
        parts.append(replace(rows, name=f"{whole.name}#{names[code]}" + (f"@{split}" if stated else "")))
    return parts if split is None or stated else pick_split(parts, split, seed)
