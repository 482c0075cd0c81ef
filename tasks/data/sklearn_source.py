"""``sklearn:NAME``: small tables inside scikit-learn, and its two moons. No rule of ours is trained on them."""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine, make_moons
from sklearn.utils import Bunch

from tasks.data.raw import RawData, class_codes


def two_moons() -> Any:
    """Two half circles of 1,000 points each, in two inputs, with noise of a tenth of their radius."""
    x, labels = make_moons(2000, noise=0.1, random_state=0)
    return Bunch(data=x, target=labels, target_names=["upper", "lower"])


TABLES: dict[str, Callable[[], Any]] = {
    "breast_cancer": load_breast_cancer,
    "iris": load_iris,
    "moons": two_moons,
    "wine": load_wine,
}
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
