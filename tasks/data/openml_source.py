"""``openml:NAME``: a data set of openml.org, fetched and cached by scikit-learn."""

import math
import warnings
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.datasets import fetch_openml

from tasks.data.raw import Array, RawData, class_codes


def read_openml(name: str) -> list[RawData]:
    """The data set called ``name`` on openml.org, or numbered so: rows of numbers, categories by their place.

    A square number of columns of whole numbers up to 255 is read as uint8 images (mnist_784, Fashion-MNIST); other rows
    stay as they are. Raises OSError if it cannot be fetched, ValueError if there is none or it has text columns.
    """
    source = f"openml:{name}"
    which = {"data_id": int(name)} if name.isdigit() else {"name": name}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # several versions of one name: the first active one is taken
            bunch = fetch_openml(**which, as_frame="auto", parser="auto", n_retries=1)
    except OSError as error:
        raise OSError(f"{source}: could not be fetched from openml.org, is there a network? ({error})") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if bunch.target is None or bunch.target.ndim != 1:
        raise ValueError(f"{source}: has no class column, or several, expected one")
    x = bunch.data.toarray() if issparse(bunch.data) else _numbers(source, bunch.data)
    labels, class_names = class_codes(source, np.array([str(value) for value in bunch.target]))
    return [RawData(source, _as_images(x), labels, class_names)]


def _numbers(source: str, frame: Any) -> Array:
    """The columns of pandas' ``frame`` as float64 [n, D], categories by their place. Raises ValueError for text."""
    columns = []
    for title, column in frame.items():
        if column.dtype.name == "category":
            codes = column.cat.codes.to_numpy(dtype=np.float64)
            columns.append(np.where(codes < 0, np.nan, codes))  # -1 is a missing category
        elif column.dtype.kind in "biuf":
            columns.append(column.to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            raise ValueError(f"{source}: column {title!r} holds text, expected numbers or categories")
    return np.column_stack(columns)


def _as_images(x: Array) -> Array:
    """Rows [n, side²] of bytes as uint8 images [n, side, side]; other rows unchanged."""
    side = math.isqrt(x.shape[1])
    is_bytes = bool(np.isfinite(x).all() and x.min() >= 0 and 127 < x.max() <= 255 and (x == np.round(x)).all())
    if not is_bytes or side**2 != x.shape[1] or side < 7:
        return x
    return x.astype(np.uint8).reshape(-1, side, side)
