"""``NAME``: a data set of the data folder, such as those that ``scripts/get_data.py`` brings."""

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tasks.data.npz_source import read_arrays, read_npz
from tasks.data.raw import RawData
from tasks.data.recipes.registry import recipe_that_brings

VARIABLE = "UPDATE_RULES_DATA"
"""The environment variable that names the folder of data sets."""

OFFICIAL_PARTS = ("background", "evaluation")
"""Of Omniglot: where ``background`` is true, and where it is false."""


def data_folders() -> list[Path]:
    """Where data sets are looked for, in order; they are put into the first."""
    named = os.environ.get(VARIABLE, "")
    return [*([Path(named)] if named else []), Path("data")]


def find_data_set(name: str) -> Path | None:
    """The npz file of the data set ``name``, None where there is none and no recipe would bring it.

    Raises FileNotFoundError, with the command that brings it, where a recipe would.
    """
    if not re.fullmatch(r"\w[\w-]*", name):
        return None
    for folder in data_folders():
        if (folder / f"{name}.npz").is_file():
            return folder / f"{name}.npz"
    recipe = recipe_that_brings(name)
    if recipe is not None:
        raise FileNotFoundError(
            f"no data set {name!r} in data/ or ${VARIABLE}; python scripts/get_data.py {recipe} brings it"
        )
    return None


def read_official(path: Path, part: str, labelled: bool = True) -> RawData:
    """The official ``part`` of Omniglot in the file ``path``, under its name. Raises ValueError for other data."""
    (whole, *_) = read_npz(str(path), labelled, path.stem)
    try:
        background = read_arrays(path, ("background",))["background"].astype(bool)
    except ValueError:
        raise ValueError(f"{whole.name}: no part {part!r}, which the data set omniglot alone has") from None
    kept = whole.rows(np.flatnonzero(background == (part == "background")))
    return replace(kept, name=f"{whole.name}@{part}")
