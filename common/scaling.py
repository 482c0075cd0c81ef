"""Whether the columns of a table are brought to mean 0 and variance 1, told by their spread."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

Standardise = bool | Literal["auto"]
"""True, False, or "auto": unless the data are on a scale that rules are meta-trained on."""

LEAST_OF_PIXELS = 0.05
"""Spread of the columns of pictures in [0, 1]; sparse ink has more."""

USUAL = (0.2, 3.0)
"""Spread of the columns of a table that has been standardised, though perhaps not its columns of 0 and 1."""


LARGE = 1e100


def check_standardise(value: object) -> None:
    """Raise ValueError unless ``value`` is a Standardise."""
    if value not in (True, False, "auto"):
        raise ValueError(f"got standardise={value!r}, expected True, False or 'auto'")


def scaling(x: Array, standardise: Standardise = "auto") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is subtracted from and divides the columns of ``x`` [n, D], float64 [D] each: 0 and 1 to leave them.

    The spread is the root mean square of the standard deviations of columns that vary. "auto" leaves pixels, which lie
    in [0, 1], if it is LEAST_OF_PIXELS or more; and columns of means within 1 of 0, if it is within USUAL.
    """
    offset, scale = np.zeros(x.shape[1]), np.ones(x.shape[1])
    if standardise is False:
        return offset, scale
    size = np.maximum(np.abs(x.max(0)), np.abs(x.min(0))).astype(np.float64)
    if size.max() < LARGE:
        means, spreads = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    else:  # whose squares would overflow
        size[size == 0] = 1
        means, spreads = size * (x / size).mean(0), size * (x / size).std(0)
    varying = spreads > 10 * np.finfo(np.float64).eps * np.abs(means)
    if standardise == "auto" and (not varying.any() or _on_scale(x, means, spreads[varying])):
        return offset, scale
    return means, np.where(varying, spreads, 1.0)


def _on_scale(x: Array, means: Array, spreads: Array) -> bool:
    with np.errstate(over="ignore"):
        spread = np.sqrt((spreads**2).mean())
    rounding = 1e-6
    if x.min() >= -rounding and x.max() <= 1 + rounding:
        return bool(spread >= LEAST_OF_PIXELS)
    return bool(np.abs(means).max() <= 1 and USUAL[0] <= spread <= USUAL[1])
