"""Holds the JAX versions to this program, before they are timed."""

from dataclasses import replace

import jax

from benchmarks.gradient_error import flat
from benchmarks.jax_workloads import compiled
from benchmarks.original import compare
from benchmarks.workloads import Setting, in_float64, ours


def check_workload(setting: Setting) -> None:
    """Compare what is timed with what this program computes from the same data: in float32, and one task in float64.

    This program is itself held to the original's arrays, by ``scripts/check_reference.py``. Raises ValueError if they
    differ by more than rounding can explain. A meta-gradient is judged as a whole by relative norm and direction: a
    relu input within rounding of zero may fall on the other side, which moves that of B1 by 2 %. A State is judged by
    its change since the start.
    """
    one, strict = in_float64(replace(setting, unrolls=setting.unrolls[:1])), compare.STRICT_META
    with jax.enable_x64(True):
        _check(one, strict, strict, strict)
    _check(setting, compare.ROUNDED_STATE, compare.ROUNDED_GRADIENT, compare.ROUNDED_ONE_MINUS_COSINE)


def _check(setting: Setting, state: float, gradient: float, direction: float) -> None:
    """Raise ValueError for a result beyond one of the limits."""
    found, expected = flat(compiled(setting)()), flat(ours(setting, recompute=True))
    if setting.workload.apply:
        start = flat(list(setting.unrolls[0].carried.values()))
        errors = {"relative norm": (compare.relative_norm(found - start, expected - start), state)}
    else:
        errors = {
            "relative norm": (compare.relative_norm(found, expected), gradient),
            "1 - cosine": (compare.one_minus_cosine(found, expected), direction),
        }
    for kind, (error, limit) in errors.items():
        if not error <= limit:
            raise ValueError(
                f"the JAX version is not timed: its result differs from this program's by {error:.1e} ({kind}), "
                f"expected at most {limit:.1e}"
            )
