"""How far our arrays are from stored ones, group by group, and how far they may be."""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.original.names import ArrayFile

Computed = Mapping[str, Tensor]
"""Our value for every output array, under the name it has in the file."""

# Limits on the largest difference relative to the largest reference value. float64 against float64 is the strict test:
# 1e-13 is usual for update steps, and 2e-9 for the meta-objective and meta-gradients.
STRICT_UPDATE = 1e-9
STRICT_META = 1e-6
# Where either side is float32 the limits are five times what rounding was measured to do: 4e-4 to a state (relative to
# its small change since the start), 5e-5 to a change, 2e-4 to an error signal (a division by a tiny rms).
ROUNDED_STATE = 2e-3
ROUNDED_CHANGE = 2.5e-4
ROUNDED = 1e-3
ROUNDED_FORWARD = 1e-4
# With more features than examples the ridge problem is ill-conditioned: rounding was measured to do 4e-3.
ROUNDED_ILL_CONDITIONED = 2e-2
# A relu input within rounding of zero may fall on the other side and move whole gradients, so a float32 meta-gradient
# is judged array by array, by its relative norm and its direction.
ROUNDED_GRADIENT = 5e-2
ROUNDED_ONE_MINUS_COSINE = 1e-3
# A convolution bias that feeds a batch norm has gradient zero and what is stored is noise: gradients with a norm below
# this share of the largest in their group are skipped.
NEGLIGIBLE = 1e-6

# The backward half of a State has biases too, which nothing reads.
NOT_OUTPUTS = re.compile(
    r"(cfg|batches|theta|base0)/|neuron/rows$|.*/(shuffle_ind|(images|labels|features)_\w+)$|(base\d+|final)/.*/b$"
)


class GroupResult(NamedTuple):
    """How one group of arrays compares; pairs are for our float64 and our float32."""

    group: str
    arrays: int
    errors: tuple[float, float]
    limits: tuple[float, float]
    worst: tuple[str, str]  # the arrays with the largest errors

    @property
    def passed(self) -> tuple[bool, bool]:
        """Whether each error is within its limit; one that is not a number is not."""
        return self.errors[0] <= self.limits[0], self.errors[1] <= self.limits[1]


def group_of(name: str) -> str:
    """The group that the array ``name`` is reported in."""
    return re.sub(r"^(neuron/[hd]|\w+?_terms(?=\d)|[^/]+).*", r"\1", name)


def uncompared(stored: ArrayFile, computed: Computed) -> list[str]:
    """Names of stored arrays that look like outputs and that nothing was compared with."""
    return [name for name in stored if name not in computed and not NOT_OUTPUTS.match(name)]


def compare(stored: ArrayFile, inputs: ArrayFile, computed: tuple[Computed, Computed]) -> list[GroupResult]:
    """The errors of ``computed`` by group. Raises ValueError for another shape, and for nothing to compare."""
    names = [name for name in computed[0] if name in stored]
    if not names:
        raise ValueError(f"{stored.path} holds no output arrays to compare with")
    for name in names:
        ours = tuple(computed[0][name].shape)
        if stored[name].size != int(np.prod(ours)):
            raise ValueError(f"{stored.path}: got {name} of shape {stored[name].shape}, expected {ours}")
    strict = all(stored[name].dtype == np.float64 for name in names)
    norms = {n: float(np.linalg.norm(stored[n].astype(np.float64))) for n in names if n.startswith("grad_")}
    largest_norm: dict[str, float] = defaultdict(float)
    for name, norm in norms.items():
        largest_norm[group_of(name)] = max(largest_norm[group_of(name)], norm)

    errors: dict[str, list[tuple[str, list[float]]]] = defaultdict(list)
    for name in names:
        group, reference = group_of(name), stored[name].astype(np.float64).reshape(-1)
        both = [one[name].detach().to(torch.float64).numpy().reshape(-1) for one in computed]
        if name not in norms:
            scale = magnitude(name, reference, inputs)
            errors[group].append((name, [largest(ours - reference) / scale for ours in both]))
        elif not norms[name] <= NEGLIGIBLE * largest_norm[group]:
            errors[group].append((name, [relative_norm(ours, reference) for ours in both]))
            errors[f"{group} 1-cos"].append((name, [one_minus_cosine(ours, reference) for ours in both]))
    results = []
    for group, entries in errors.items():
        (worst64, pair64), (worst32, pair32) = (max(entries, key=lambda one: rank(one[1][i])) for i in range(2))
        loose = rounded_limit(group, inputs)
        tight = STRICT_UPDATE if re.match(r"fwd|neuron|forward|backward|change|base|final", group) else STRICT_META
        limits = (tight if strict else loose, loose)
        results.append(GroupResult(group, len(entries), (pair64[0], pair32[1]), limits, (worst64, worst32)))
    return results


def rounded_limit(group: str, inputs: ArrayFile) -> float:
    """The limit where our side or the reference is float32."""
    if group.endswith("1-cos"):
        return ROUNDED_ONE_MINUS_COSINE
    if group.startswith("grad_"):
        return ROUNDED_GRADIENT
    if group.startswith(("base", "final")):
        return ROUNDED_STATE
    if group in ("change", "fwd"):
        return ROUNDED_CHANGE if group == "change" else ROUNDED_FORWARD
    features = inputs.get(f"{group}/features_train")
    if features is not None and features.shape[0] <= features.shape[1]:
        return ROUNDED_ILL_CONDITIONED
    return ROUNDED


def magnitude(name: str, reference: np.ndarray, inputs: ArrayFile) -> float:
    """What an error in ``name`` is relative to: the largest value or, for a later State, its change since the start."""
    match = re.match(r"(?:base\d+|final)(/.*)", name)
    if match:
        reference = reference - inputs[f"base0{match[1]}"].astype(np.float64).reshape(-1)
    return largest(reference) or 1.0


def largest(values: np.ndarray) -> float:
    """The largest magnitude in ``values``; not a number if one of them is not."""
    return float(np.abs(values).max(initial=0.0))


def relative_norm(ours: np.ndarray, reference: np.ndarray) -> float:
    """The norm of the difference, relative to that of ``reference``."""
    return float(np.linalg.norm(ours - reference) / np.linalg.norm(reference))


def one_minus_cosine(ours: np.ndarray, reference: np.ndarray) -> float:
    """1 minus the cosine of the angle between two vectors."""
    norm = np.linalg.norm(ours) * np.linalg.norm(reference)
    return float(1 - ours @ reference / norm) if norm > 0 else 1.0


def rank(error: float) -> float:
    """``error``, with one that is not a number above all others."""
    return error if error == error else float("inf")
