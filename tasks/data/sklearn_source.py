"""``sklearn:NAME``: the small tables that come inside scikit-learn, which no rule of ours is trained on."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine

from tasks.data.raw import RawData, class_codes

TABLES: dict[str, Callable[[], Any]] = {"breast_cancer": load_breast_cancer, "iris": load_iris, "wine": load_wine}
"""Their names, and what loads them."""

LARGEST = 20.0
"""Standardised values are clipped at plus and minus this."""


def read_sklearn(name: str) -> list[RawData]:
    """The table ``name``, float32 [n, D], every column standardised over the table. Raises ValueError for others."""
    if name not in TABLES:
        hint = "".join(f"; did you mean sklearn:{near}?" for near in get_close_matches(name, TABLES, n=1))
        raise ValueError(f"unknown table sklearn:{name}, expected one of {', '.join(TABLES)}{hint}")
    bunch = TABLES[name]()
    spread = bunch.data.std(0)
    x = (bunch.data - bunch.data.mean(0)) / np.where(spread > 0, spread, 1)
    labels, names = class_codes(f"sklearn:{name}", bunch.target, np.asarray(bunch.target_names))
    return [RawData(f"sklearn:{name}", x.clip(-LARGEST, LARGEST).astype(np.float32), labels, names)]
