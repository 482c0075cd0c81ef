"""What estimators share: T unrolls of one shape, with R read points, run as one batch; only finite ones count."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inner_loop.state import stack_states, unstack_state
from inner_loop.unroll import unroll
from outer_loop.estimators.contract import Carried, Estimate, Estimator, Memory, TruncatedUnroll
from outer_loop.readouts.contract import stacked_episodes
from update_rules.contract import UNLABELLED, Rule, State, Theta


class Group(NamedTuple):
    """Results of unrolls of one shape, by their place in the outer step: sums over tasks, not means."""

    direction: dict[str, Tensor]
    kept: list[int]
    carried: list[Carried]
    loss: float
    accuracy: float


NOTHING = Group({}, [], [], 0.0, 0.0)
"""Of a group in which no task was kept."""


def by_groups(
    theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory, run: Callable[[list[int]], Group]
) -> Estimate:
    """The Estimate from ``run`` on the places of all unrolls of each shape: means over the tasks that were kept."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, one in enumerate(unrolls):
        groups.setdefault(one.shape, []).append(index)
    done = [run(members) for members in groups.values()]
    kept = sum(len(group.kept) for group in done)
    carried: list[Carried | None] = [None] * len(unrolls)
    for group in done:
        for index, left in zip(group.kept, group.carried, strict=True):
            carried[index] = left
    scale = 1 / max(kept, 1)
    names = [name for name, value in theta.items() if value.requires_grad]
    return Estimate(
        direction={
            name: sum((group.direction[name] for group in done if group.kept), torch.zeros_like(theta[name])) * scale
            for name in names
        },
        carried=carried,
        meta_loss=sum(group.loss for group in done) * scale if kept else float("nan"),
        accuracy=sum(group.accuracy for group in done) * scale if kept else float("nan"),
        memory=memory,
        dropped=[index for index, one in enumerate(carried) if one is None],
    )


def merged(groups: Sequence[Group]) -> Group:
    """The sum of groups that were run one by one; those that kept nothing count for nothing."""
    kept = [group for group in groups if group.kept]
    if not kept:
        return NOTHING
    return Group(
        {name: torch.stack([group.direction[name] for group in kept]).sum(0) for name in kept[0].direction},
        [index for group in kept for index in group.kept],
        [one for group in kept for one in group.carried],
        sum(group.loss for group in kept),
        sum(group.accuracy for group in kept),
    )


class _View(Sequence[Tensor]):
    """A view [T, ...] of unrolls at every step, made when asked for: nobody needs those of all steps at once."""

    def __init__(self, views: Sequence[Tensor]) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, step: Any) -> Any:
        return torch.stack([view[step] for view in self.views])


class Losses(NamedTuple):
    """What one batch of unrolls gives: loss and accuracy [R, T], and the last State [T, ...]."""

    loss: Tensor
    accuracy: Tensor
    final: State


def group_of(
    found: Losses,
    direction: dict[str, Tensor],
    members: Sequence[int],
    kept: Sequence[int],
    weights: tuple[float, ...] | None,
) -> Group:
    """The group of those ``kept`` of ``members``, by place, with the ends, losses and accuracies ``found`` of all."""
    left = unstack_state(found.final)
    figures = (float(over_reads(one, weights)[list(kept)].sum()) for one in (found.loss, found.accuracy))
    return Group(direction, [members[place] for place in kept], [left[place] for place in kept], *figures)


def losses_of(
    estimator: Estimator,
    rule: Rule,
    theta: Theta,
    unrolls: Sequence[TruncatedUnroll],
    states: Sequence[State],
    *,
    per_task: bool = False,
) -> Losses:
    """The meta-losses of ``unrolls`` of one shape from ``states``; with ``per_task`` each under a θ of its own."""
    first = unrolls[0]
    reads = unroll(
        rule,
        theta,
        first.problem,
        stack_states(states),
        {name: _View([one.views[name] for one in unrolls]) for name in first.views},
        read_points=first.read_points,
        recompute=estimator.recompute,
        compiled=estimator.compiled,
        per_task=per_task,
    )
    losses, accuracies = [], []
    for point, (steps, state) in enumerate(zip(first.read_points, reads, strict=True)):
        drawn = stacked_episodes([one.episodes[point] for one in unrolls])
        seen = [one.views[UNLABELLED][steps - 1] for one in unrolls if UNLABELLED in one.views and steps]
        unlabelled = torch.stack(seen) if seen else None
        reading = estimator.objective.read_tasks(rule, theta, first.problem, state, drawn, first.ways, unlabelled)
        losses.append(reading.loss)
        accuracies.append(reading.accuracy.detach())
    return Losses(torch.stack(losses), torch.stack(accuracies), reads[-1])


def over_reads(values: Tensor, weights: tuple[float, ...] | None) -> Tensor:
    """The mean [T] of ``values`` [R, T] over the read points, weighted or plain."""
    return values.mean(0) if weights is None else (values * values.new_tensor(weights)[:, None]).sum(0)
