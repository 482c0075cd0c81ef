"""The change of a layer's weights in ``neuron_local``: the terms of Metz et al. (2019), appendix D, mixed and bounded.

Shapes: T tasks, B examples, M = readout channels · B.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from update_rules.local.local_terms import bounded_columns, turn
from update_rules.local.weight_terms import LOWER, MIXED, UPPER, MixedTerms

TERMS = {"decorrelate": 1.0, **dict.fromkeys(MIXED, 0.0), "order_0": 1.0}
"""The terms of a weight change, each with the mixing weight it starts from: competition against decorrelation."""


def symmetric(u: Tensor) -> Tensor:
    """(u + uᵀ)/√2 with a zero diagonal, over sqrt(N): ``u`` [N, N]."""
    n = u.shape[-1]
    off_diagonal = 1 - torch.eye(n, dtype=u.dtype, device=u.device)
    return (u + u.mT) * off_diagonal / math.sqrt(2 * n)


def decorrelation(w: Tensor, u: Tensor) -> Tensor:
    """−w uᵀu / (B √N) [..., N_low, N_up]: away from what the other units above already see in ``u`` [..., B, N_up]."""
    return w @ (u.mT @ u) / (-u.shape[-2] * math.sqrt(u.shape[-1]))


def weight_change(w: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor, mixing: Tensor) -> Tensor:
    """The change of ``w`` [N_low, N_up], of columns of rms below 1 that turn those of ``w``, never stretch.

    ``lower`` [7 · channels, B, N_low] and ``upper`` [8 · channels, B, N_up] are the readouts of both sides, ``v`` and
    ``u`` [B, N] their standardised activations, ``mixing`` [11] the weights of TERMS.
    """
    below, above = _by_name(LOWER, lower), _by_name(UPPER, upper)
    b, n_up = u.shape
    scale = 1 / len(below["order_0"])
    magnitude = torch.sqrt(1 + w * w) - 1
    sign = torch.sign(w)

    def outer(a: Tensor, c: Tensor) -> Tensor:
        return a.mT @ c * scale

    terms = [
        decorrelation(w, u),
        outer(below["order_0"], above["order_0"]),
        w * outer(below["order_1"], above["order_1"]),
        v.mT @ u / b,
        -w * w * sign,
        symmetric(outer(below["linear_lower_a"], below["linear_lower_b"])) @ w,
        w @ outer(above["psd"], above["psd"]) / math.sqrt(n_up),
        w @ symmetric(outer(above["linear_upper_a"], above["linear_upper_b"])),
        torch.exp(-w * w) * outer(below["rbf"], above["rbf"]),
        symmetric(outer(below["square_lower_a"], below["square_lower_b"])) @ magnitude * sign,
        magnitude @ symmetric(outer(above["square_upper_a"], above["square_upper_b"])) * sign,
    ]
    change = torch.tensordot(mixing, bounded_columns(torch.stack(terms)), dims=1)
    return bounded_columns(turn(w, change))


def batched_change(w: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor, mixing: Tensor) -> Tensor:
    """The same for T tasks at once, faster, by ``MixedTerms``: every tensor with a leading T."""
    tasks, _, examples, _ = lower.shape
    rows = lower.shape[1] // len(LOWER) * examples
    sides = (lower.reshape(tasks, len(LOWER), rows, -1), upper.reshape(tasks, len(UPPER), rows, -1))
    mixed = MixedTerms.apply(w, *sides, v, u, mixing[:, 1:])
    return bounded_columns(turn(w, mixed + mixing[:, :1, None] * bounded_columns(decorrelation(w, u))))


def _by_name(names: tuple[str, ...], readouts: Tensor) -> Mapping[str, Tensor]:
    """``readouts`` [names · channels, B, N] as one matrix [M, N] for each name."""
    return dict(zip(names, readouts.reshape(len(names), -1, readouts.shape[-1]).unbind(0), strict=True))
