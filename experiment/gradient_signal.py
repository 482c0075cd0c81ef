"""What an estimator's direction is worth: how far it is from the gradient over whole trajectories, and how noisy.

Every estimator is given the same tasks, examples and first states. Shapes: T tasks, P pieces of a trajectory, M numbers
in θ.
"""

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from outer_loop.estimators.batching import losses_of
from outer_loop.estimators.contract import Carried, Estimator, TruncatedUnroll
from outer_loop.trajectories import Trajectories
from update_rules.contract import Rule, Theta


class Quality(NamedTuple):
    """What T directions say beside the gradients of the same tasks."""

    norm: float
    """Length of the mean direction, noise taken off, in lengths of the mean gradient."""
    cosine: float
    """Between the two means, noise and all."""
    bias: float
    """Length of their difference, noise taken off, in lengths of the mean gradient."""
    signal_to_noise: float
    """Length of the mean direction by the standard deviation of that of an outer step."""


def whole_unrolls(
    trajectories: Trajectories, rule: Rule, tasks: int, seed: int, length: int, piece: int, read_every: int
) -> list[TruncatedUnroll]:
    """Trajectories of ``length`` inner steps from their start, read out as in pieces of ``piece``."""
    inside = sorted({*range(read_every, piece, read_every), piece})
    reads = [first + one for first in range(0, length, piece) for one in inside]
    started = trajectories.start(rule, tasks, seed, range(tasks))[0]
    device, policy = trajectories.device, trajectories.normalisation
    return [one.unroll(reads, device, rule.consumes, None, policy) for one in started]


def whole_gradients(estimator: Estimator, rule: Rule, theta: Theta, one: TruncatedUnroll, piece: int) -> Tensor:
    """The gradients [P, M] of what is read in each piece of ``one``, back to the trajectory's start."""
    again = copy(estimator)
    again.recompute = True  # a graph that is kept serves one backward pass
    losses = losses_of(again, rule, theta, [one], [one.carried]).loss[:, 0]
    learned = [value for value in theta.values() if value.requires_grad]
    rows = []
    for last in range(piece, one.read_points[-1] + 1, piece):
        places = [place for place, read in enumerate(one.read_points) if last - piece < read <= last]
        grads = torch.autograd.grad(
            losses[places].mean(), learned, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append(torch.cat([grad.flatten() for grad in grads]).double())
    return torch.stack(rows)


def directions(
    estimator: Estimator, rule: Rule, theta: Theta, one: TruncatedUnroll, piece: int, noise: torch.Generator
) -> Tensor:
    """The directions [P, M] of ``estimator`` on ``one`` in pieces; NaN where the task was dropped."""
    carried: Carried | None = estimator.start(rule, theta, one.carried, noise)
    names, rows = [name for name, value in theta.items() if value.requires_grad], []
    for first in range(0, one.read_points[-1], piece):
        assert carried is not None
        found = estimator.estimate(rule, theta, [_cut(one, first, first + piece, carried, noise)], {})
        carried = found.carried[0]
        if carried is None:
            return torch.full((one.read_points[-1] // piece, sum(theta[name].numel() for name in names)), torch.nan)
        rows.append(torch.cat([found.direction[name].detach().flatten() for name in names]).double())
    return torch.stack(rows)


def _cut(one: TruncatedUnroll, first: int, last: int, carried: Carried, generator: torch.Generator) -> TruncatedUnroll:
    """What of ``one`` lies between two inner steps, from where ``carried`` came to."""
    places = [place for place, read in enumerate(one.read_points) if first < read <= last]
    return replace(
        one,
        carried=carried,
        views={name: view[first:last] for name, view in one.views.items()},
        read_points=tuple(one.read_points[place] - first for place in places),
        episodes=tuple(one.episodes[place] for place in places),
        generator=generator,
    )


def quality(found: Tensor, gradients: Tensor, tasks_per_step: int) -> Quality:
    """What directions ``found`` [T, M] are worth beside ``gradients`` [T, M].

    NaN with fewer than 2 finite tasks, and for what gives no direction at all.
    """
    good = found.isfinite().all(1) & gradients.isfinite().all(1)
    found, gradients = found[good], gradients[good]
    if len(found) < 2 or not found.any():
        return Quality(*[math.nan] * 4)
    size, spread = _signal(found)
    whole = _signal(gradients)[0]
    means = found.mean(0), gradients.mean(0)
    cosine = float(torch.nn.functional.cosine_similarity(*means, dim=0))
    bias = _signal(found - gradients)[0]
    noise = spread / math.sqrt(tasks_per_step)
    return Quality(_ratio(size, whole), cosine, _ratio(bias, whole), _ratio(size, noise))


def _signal(rows: Tensor) -> tuple[float, float]:
    """Length of the mean that ``rows`` [T, M] are draws around, and their standard deviation from it, over all M.

    The squared length of a mean of T draws is too large by the T-th part of their variance, which is taken off.
    """
    variance = float(rows.var(0).sum())
    return math.sqrt(max(0.0, float(rows.mean(0).square().sum()) - variance / len(rows))), math.sqrt(variance)


def _ratio(one: float, other: float) -> float:
    return one / other if other > 0 else math.nan


def by_place(found: Mapping[str, Tensor], gradients: Tensor, tasks_per_step: int) -> dict[str, Sequence[Quality]]:
    """By estimator what its directions [T, P, M] are worth in every piece; those in pieces of other lengths are out."""
    return {
        name: [quality(rows[:, place], gradients[:, place], tasks_per_step) for place in range(gradients.shape[1])]
        for name, rows in found.items()
        if rows.shape[1] == gradients.shape[1]
    }
