"""Applying a rule as it is: inner steps without gradients, for one task or for T tasks at once."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from inner_loop.unroll import batched_step, theta_of
from update_rules.contract import Network, Rule, State

Progress = Callable[[int], None]
"""Called after every inner step with the number of steps done."""


def _check_views(rule: Rule) -> None:
    if rule.consumes != ("unlabelled",):
        raise ValueError(
            f"rule {rule.name} consumes the views {list(rule.consumes)}, expected unlabelled batches alone"
        )


def apply_rule(
    rule: Rule, network: Network, state: State, batches: Iterable[Tensor], *, progress: Progress | None = None
) -> State:
    """The State of one task after an inner step on each of ``batches``, [B, D] float32 each.

    Raises ValueError when a number of the state is NaN or infinite, which names the inner step, and when the rule
    consumes more than unlabelled examples.
    """
    _check_views(rule)
    with torch.no_grad():
        for step, batch in enumerate(batches, start=1):
            state = rule.step(network, state, {"unlabelled": batch})
            broken = [name for name, value in state.items() if not value.isfinite().all()]
            if broken:
                raise ValueError(
                    f"rule {rule.name}: {', '.join(broken)} of the base network not finite after inner step {step}; "
                    "take fewer steps, a larger batch or another rule"
                )
            if progress is not None:
                progress(step)
    return state


def apply_rule_to_tasks(
    rule: Rule, network: Network, state: State, batches: Iterable[Tensor], *, read_points: Sequence[int]
) -> list[State]:
    """The States [T, ...] after each of ``read_points`` (rising counts of steps), from ``batches`` [T, B, D] each.

    Tasks never mix: one that becomes non-finite leaves the others as they are and stays in the result, where
    ``states.finite_tasks`` finds it. Raises ValueError for read points that do not rise from 0 or more, fewer batches
    than the last of them, and a rule that consumes more than unlabelled examples.
    """
    _check_views(rule)
    points = list(read_points)
    if not points or points != sorted(set(points)) or points[0] < 0:
        raise ValueError(f"got read points {points}, expected rising counts of 0 or more inner steps")
    step = batched_step(rule, theta_of(rule), network)
    stream = iter(batches)
    reads = []
    with torch.no_grad():
        for done in range(points[-1] + 1):
            if done > 0:
                batch = next(stream, None)
                if batch is None:
                    raise ValueError(f"got {done - 1} batches, expected {points[-1]}, as many as inner steps to read")
                state = step(state, {"unlabelled": batch})
            if done in points:
                reads.append(state)
    return reads
