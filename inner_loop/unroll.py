"""Unrolling a rule: K inner steps of T tasks at once, differentiable in θ and in the starting state."""

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call, vmap
from torch.utils.checkpoint import checkpoint

from update_rules.contract import Network, Rule, State

Theta = Mapping[str, Tensor]
"""Parameters and buffers of a rule by name, as ``functional_call`` takes them."""


def batched_step(rule: Rule, theta: Theta, network: Network) -> Callable[[State, Mapping[str, Tensor]], State]:
    """One inner step of T tasks: a function of a State [T, ...] and views [T, ...] that returns a State [T, ...]."""

    def step(state: State, views: Mapping[str, Tensor]) -> State:
        return cast(State, functional_call(rule, dict(theta), ("step", network, state, views)))

    return vmap(step)


def unroll(
    rule: Rule,
    theta: Theta,
    network: Network,
    state: State,
    views: Mapping[str, Tensor],
    *,
    read_points: Sequence[int],
    recompute: bool = True,
) -> list[State]:
    """The States [T, ...] after each of ``read_points`` (rising counts of steps from 0; the last one ends the unroll).

    ``views`` holds one tensor [K, T, ...] for each view that the rule consumes; a rule never sees another one. With
    ``recompute`` only the states between steps are kept, and each step runs again in the backward pass: the gradient is
    the same to the bit and memory nearly independent of K. The checkpoint goes around the vmapped step, since inside
    vmap it fails in the backward pass. Raises ValueError when a view is missing, K is too small or points do not rise.
    """
    missing = [name for name in rule.consumes if name not in views]
    if missing:
        raise ValueError(f"rule {rule.name} consumes the views {list(rule.consumes)}, got {list(views)}")
    consumed = {name: views[name] for name in rule.consumes}
    available = min((view.shape[0] for view in consumed.values()), default=read_points[-1])
    if list(read_points) != sorted(set(read_points)) or read_points[0] < 0 or read_points[-1] > available:
        raise ValueError(
            f"got read points {list(read_points)}, expected rising counts from 0 to at most {available} steps"
        )
    step = batched_step(rule, theta, network)
    reads = []
    for point in range(read_points[-1] + 1):
        if point > 0:
            now = {name: view[point - 1] for name, view in consumed.items()}
            if recompute and torch.is_grad_enabled():
                state = checkpoint(step, state, now, use_reentrant=False, preserve_rng_state=False)
            else:
                state = step(state, now)
        if point in read_points:
            reads.append(state)
    return reads
