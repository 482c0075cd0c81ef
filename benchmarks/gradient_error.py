"""How far a meta-gradient is from the one in float64, the same maths on the same numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.original.compare import one_minus_cosine, relative_norm
from benchmarks.workloads import Setting, in_float64, ours


def flat(arrays: Sequence[Any]) -> np.ndarray:
    """All numbers of ``arrays``, of PyTorch or JAX, in float64, one after the other."""
    return np.concatenate(
        [np.asarray(value.cpu() if hasattr(value, "cpu") else value, np.float64).ravel() for value in arrays]
    )


def gradient_error(setting: Setting, found: Sequence[Any]) -> dict[str, float | None]:
    """The error of the meta-gradient ``found``: its relative norm, and 1 - cosine; both None without a gradient."""
    if setting.workload.apply:
        return {"gradient_error": None, "one_minus_cosine": None}
    given, exact = flat(found), flat(ours(in_float64(setting), recompute=True))
    return {"gradient_error": relative_norm(given, exact), "one_minus_cosine": one_minus_cosine(given, exact)}
