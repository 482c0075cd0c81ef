"""Rules of the examples, and States of several tasks for them."""

from typing import Any

import torch
from torch import Tensor

from examples import RuleExample
from inner_loop.state import stack_states
from update_rules.contract import Problem, Rule, State
from update_rules.registry import RULES, make_rule


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
