"""Tables whose columns are brought to mean 0 and variance 1 where they are on no scale that rules know."""

from dataclasses import replace

import numpy as np

from common.notice import notice
from common.scaling import Standardise, scaling
from tasks.data.raw import RawData


def standardised(raw: RawData, standardise: Standardise) -> RawData:
    """``raw`` with its columns scaled as ``scaling`` says, with a notice; images and counts stay as they are."""
    if raw.x.ndim != 2 or raw.x.dtype.kind != "f" or not raw.x.size or not np.isfinite(raw.x).all():
        return raw  # the last three are reported by who makes inputs of them
    offset, scale = scaling(raw.x, standardise)
    if not offset.any() and (scale == 1).all():
        return raw
    if standardise == "auto":
        notice(f"{raw.name}: columns are brought to mean 0 and variance 1; --no-standardise leaves them")
    return replace(raw, x=(raw.x - offset) / scale)
