"""Applying a rule as it is to one task: inner steps without gradients."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from update_rules.contract import UNLABELLED, Problem, Rule, State

StepsDone = Callable[[int], None]
"""Called after every inner step with the number of steps done."""


def apply_rule(
    rule: Rule,
    problem: Problem,
    state: State,
    batches: Iterable[Tensor],
    *,
    steps: int,
    progress: StepsDone | None = None,
) -> State:
    """The State of one task after ``steps`` inner steps, each on one of ``batches``, [B, D] float32 each.

    Raises ValueError for a state that is not finite, a rule of other views than unlabelled, and too few batches.
    """
    if rule.consumes != (UNLABELLED,):
        raise ValueError(
            f"rule {rule.name} consumes the views {list(rule.consumes)}, expected unlabelled batches alone"
        )
    names = [phase.name for phase in rule.phases(steps) for _ in range(phase.steps)]
    step = 0
    with torch.no_grad():
        for step, (phase, batch) in enumerate(zip(names, batches, strict=False), start=1):
            state = rule.checked_step(problem, state, {UNLABELLED: batch}, phase)
            broken = [name for name, value in state.items() if not value.isfinite().all()]
            if broken:
                raise ValueError(
                    f"rule {rule.name}: {', '.join(broken)} of the base network not finite after inner step {step}; "
                    "take fewer steps, a larger batch or another rule"
                )
            if progress is not None:
                progress(step)
    if step < steps:
        raise ValueError(f"got {step} batches, expected one for each of {steps} inner steps")
    return state
