"""What evolution strategies share: pairs of unrolls under θ + σε and θ − σε, and the slopes that they tell.

Shapes: T tasks of one shape, P pairs each; the two of a pair are neighbours in [T · P · 2, ...].
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from inner_loop.state import finite_tasks, unstack_state
from outer_loop.estimators.batching import NOTHING, Group, group_of, losses_of, over_reads
from outer_loop.estimators.contract import Estimator, TruncatedUnroll
from update_rules.contract import Rule, State, Theta

Noise = dict[str, Tensor]
"""By name of a parameter that is learned, P normal draws for it, [P, ...]."""


class Pairs(NamedTuple):
    """What one unroll is perturbed by, and where it starts."""

    noise: Noise
    """ε, of variance 1."""
    along: Noise
    """What its slopes are multiplied by: ε, or the sum of those that led to where it starts."""
    starts: Sequence[State]
    """2 P of them."""


def draw_noise(theta: Theta, pairs: int, generator: torch.Generator) -> Noise:
    """Noise for ``pairs`` pairs of θ, from ``generator``."""
    return {
        name: torch.randn(pairs, *value.shape, generator=generator, dtype=value.dtype).to(value.device)
        for name, value in theta.items()
        if value.requires_grad
    }


def run_pairs(
    estimator: Estimator,
    rule: Rule,
    theta: Theta,
    unrolls: Sequence[TruncatedUnroll],
    states: Sequence[State],
    pairs: Sequence[Pairs],
    members: list[int],
    deviation: float,
) -> tuple[Group, list[list[State]]]:
    """The group of the unrolls at ``members``, and of each that was kept the 2 P States that its pairs came to.

    Its direction is the sum over tasks of Σ (L(θ + σε) − L(θ − σε)) ``along`` / 2σP, σ = ``deviation``; loss, accuracy
    and what is carried are those of θ itself, from ``states``. A pair with a loss that is not finite drops its task.
    """
    some, tasks, count = [unrolls[index] for index in members], len(members), len(pairs[members[0]].starts) // 2
    weights = some[0].read_weights
    perturbed = dict(theta)
    for name in pairs[members[0]].noise:
        drawn = torch.cat([pairs[index].noise[name] for index in members])
        perturbed[name] = theta[name] + deviation * torch.stack([drawn, -drawn], 1).flatten(0, 1)
    every = [one for one in some for _ in range(2 * count)]
    starts = [start for index in members for start in pairs[index].starts]
    found = losses_of(estimator, rule, perturbed, every, starts, per_task=True)
    middle = losses_of(estimator, rule, theta, some, [states[index] for index in members])
    loss = over_reads(middle.loss, weights)
    both = over_reads(found.loss, weights).view(tasks, count, 2)
    good = both.isfinite().flatten(1).all(1) & loss.isfinite() & finite_tasks(middle.final)
    kept = [place for place, ok in enumerate(good.tolist()) if ok]
    if not kept:
        return NOTHING, []
    slopes = (both[kept, :, 0] - both[kept, :, 1]) / (2 * deviation * count)
    direction = {
        name: torch.tensordot(slopes, torch.stack([pairs[members[place]].along[name] for place in kept]), dims=2)
        for name in pairs[members[0]].along
    }
    ends = unstack_state(found.final)
    group = group_of(middle, direction, members, kept, weights)
    return group, [ends[2 * count * place : 2 * count * (place + 1)] for place in kept]
