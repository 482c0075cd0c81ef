"""Small pieces of maths that the local rules share."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from update_rules.contract import Network, Problem, Rule, State

EPS = 1e-6

POWER = -0.3
"""The inner rate starts proportional to (1 + t)^POWER, with t the inner steps done."""


def unit_rms_columns(w: Tensor) -> Tensor:
    """``w`` [..., N_low, N_up] with every column scaled to rms 1."""
    return w * torch.rsqrt((w * w).mean(-2, keepdim=True) + EPS)


def bounded_columns(t: Tensor) -> Tensor:
    """``t`` [..., N_low, N_up] over sqrt(1 + mean square of its column): small ones pass, large ones get rms 1."""
    return t * torch.rsqrt(1 + (t * t).mean(-2, keepdim=True))


def standardised(x: Tensor) -> Tensor:
    """``x`` [..., B, N] with mean 0 and variance 1 over the batch (a constant unit gives 0)."""
    centred = x - x.mean(-2, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(-2, keepdim=True) + EPS)


class Spread(NamedTuple):
    """How activations [..., B, N] of a layer lie over the batch."""

    mean: Tensor  # [..., N]
    deviation: Tensor  # [..., N]
    standardised: Tensor  # [..., B, N] with mean 0 and variance 1 in every unit; a constant unit gives 0
    levels: Tensor  # [..., B, N] with mean 0 in every unit, over one deviation for the whole layer


def spread(x: Tensor) -> Spread:
    """The Spread of ``x`` [..., B, N]."""
    mean = x.mean(-2)
    centred = x - mean[..., None, :]
    variance = (centred * centred).mean(-2)
    deviation = torch.sqrt(variance + EPS)
    whole = torch.rsqrt(variance.mean(-1) + EPS)
    return Spread(mean, deviation, centred / deviation[..., None, :], centred * whole[..., None, None])


def skewness(x: Tensor) -> Tensor:
    """⟨x³⟩ [..., N] of standardised ``x`` [..., B, N]: a straight activation has that of its pre-activation."""
    return (x * x * x).mean(-2)


def turn(w: Tensor, change: Tensor) -> Tensor:
    """The part of ``change`` [..., N_low, N_up] that turns the unit-rms columns of ``w`` and does not stretch them."""
    return change - w * (change * w).mean(-2, keepdim=True)


def unit_rms_state(network: Network, generator: torch.Generator) -> State:
    """Normal forward and backward weights with unit-rms columns, biases normal with deviation 0.1, and ``t`` = 0."""
    state: State = {"t": torch.zeros(())}
    for layer, (low, up) in enumerate(pairwise(network.sizes), start=1):
        state[f"w{layer}"] = unit_rms_columns(torch.randn(low, up, generator=generator))
        state[f"v{layer}"] = unit_rms_columns(torch.randn(low, up, generator=generator))
        state[f"b{layer}"] = 0.1 * torch.randn(up, generator=generator)
    return state


class LocalRule(Rule):
    """A rule that treats all units, inputs and examples alike, for any network of dense layers."""

    equivariant = frozenset({"units", "inputs", "examples"})

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """``unit_rms_state`` of the network."""
        return unit_rms_state(problem.network, generator)


def without(rule: Rule, zeros: Mapping[str, Sequence[tuple[str, Any]]]) -> Iterator[tuple[str, Rule]]:
    """Copies of ``rule`` by name, each with 0 in the places of ``zeros``: names of parameters and indices in them."""
    for name, places in zeros.items():
        less = deepcopy(rule)
        with torch.no_grad():
            for parameter, index in places:
                less.get_parameter(parameter)[index] = 0
        yield name, less
