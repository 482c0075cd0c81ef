"""Rules of the examples, their States, and what one step makes of these."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from examples import RuleExample
from inner_loop.state import stack_states
from update_rules.contract import UNLABELLED, Phase, Problem, Rule, State
from update_rules.registry import RULES, make_rule

LABELS = torch.arange(100) % 5


def made(example: RuleExample, problem: Problem | None = None, seed: int = 0, **options: Any) -> Rule:
    """The rule of ``example`` for ``problem``, its own if None."""
    problem = Problem.of(example.network) if problem is None else problem
    suited = RULES.find(example.name).options_for(problem, seed)
    return make_rule(example.name, **(suited | example.options | options))


def several(rule: Rule, problem: Problem, tasks: int) -> tuple[State, Tensor]:
    """A float64 State [T, ...] and batches [T, B, D]."""
    generator = torch.Generator().manual_seed(3)
    states = stack_states([rule.init_state(problem, generator) for _ in range(tasks)])
    state = {name: value.double().requires_grad_() for name, value in states.items()}
    return state, torch.rand(tasks, 11, problem.inputs, generator=generator, dtype=torch.float64)


def every_step(rule: Rule, steps: int) -> Iterator[Phase]:
    """The phase of each of ``steps`` inner steps."""
    return (phase for phase in rule.phases(steps) for _ in range(phase.steps))


def views(names: tuple[str, ...], x: Tensor) -> dict[str, Tensor]:
    """The views called ``names``, of the examples ``x`` [..., B, D]."""
    labels = LABELS[: x.shape[-2]].expand(x.shape[:-1])
    every = {UNLABELLED: x, "support_x": x, "support_y": labels, "query_x": x, "unlabelled_set": x}
    return {name: every[name] for name in names}


def step(rule: Rule, problem: Problem, state: State, x: Tensor, y: Tensor | None = None) -> State:
    """The State after a first inner step on ``x`` [B, D], with other labels if ``y`` [B] is given."""
    phase = next(every_step(rule, 1))
    seen = views(phase.views, x)
    if y is not None and "support_y" in seen:
        seen["support_y"] = y
    return rule.step(problem, state, seen, phase.name)


def batched_step(rule: Rule, problem: Problem, state: State, x: Tensor) -> State:
    """The same for T tasks by ``batched_step``."""
    phase = next(every_step(rule, 1))
    return rule.batched_step(problem, state, views(phase.views, x), phase.name)


def shaken(rule: Rule, seed: int = 4) -> Rule:
    """``rule`` with every parameter moved, so that none is at a 0 where it may start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in rule.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(noise, alpha=0.1)
    return rule


def assert_same(found: State, expected: State) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
