"""Buffers of a rule that follow what training meets, such as running averages of batch normalisation."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from outer_loop.estimators.contract import TruncatedUnroll
from update_rules.contract import Rule, State

MOMENTUM = 0.1
"""What one outer step counts in the averages, as in torch's batch normalisation."""


def met_by(rule: Rule, unrolls: Sequence[TruncatedUnroll], kept: Sequence[int]) -> dict[str, Tensor]:
    """What ``rule`` observes in the examples that unrolls are read out with, by the name of its buffer.

    Means over the tasks at the places ``kept`` whose numbers are finite, each of support and queries as one batch; the
    buffers as they are where there is no such task. Nothing for a rule without any.
    """
    with torch.no_grad():
        found = [_met_in(rule, unrolls[place]) for place in kept]
        finite = [met for met in found if all(bool(value.isfinite().all()) for value in met.values())]
        if not finite:
            return {name: rule.get_buffer(name).clone() for name in _met_in(rule, unrolls[0])}
    return {name: torch.stack([met[name] for met in finite]).mean(0) for name in finite[0]}


def _met_in(rule: Rule, one: TruncatedUnroll) -> State:
    episode = one.episodes[-1]
    return rule.observed(one.problem, one.carried, torch.cat([episode.support_x, episode.query_x]))


def follow(rule: Rule, met: Mapping[str, Tensor]) -> None:
    """Move the buffers of ``rule`` towards what was ``met``, by ``MOMENTUM`` of the way, in place."""
    for name, value in met.items():
        average = rule.get_buffer(name)
        average.lerp_(value.to(average.dtype), MOMENTUM)
