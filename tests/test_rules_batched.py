"""A batched step of every rule is the step of each task: all lines of ``examples.RULES`` pass all of these."""

import math
from typing import Any

import pytest
import torch
from rule_states import assert_same, batched_step, every_step, made, several, shaken, step, views
from torch.func import vmap

from examples import RULES as EXAMPLES
from examples import RuleExample
from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of, unroll
from update_rules.contract import Problem, Rule


@pytest.mark.parametrize(
    ("example", "options"),
    [pytest.param(one, options, id=f"{one.name} {options}") for one in EXAMPLES for options in one.variants],
)
@pytest.mark.parametrize("sizes", [(9, 7, 6, 5), (9, 5), (60, 3, 5)])
def test_a_batched_step_is_the_step_of_every_task(
    example: RuleExample, options: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    problem = Problem.of(MLP(sizes))
    rule = shaken(made(example, problem, **options).double())
    generator = torch.Generator().manual_seed(5)
    state, x = several(rule, problem, 3)
    batched = batched_step(rule, problem, state, x)
    plain = stack_states(
        [step(rule, problem, {n: v[task] for n, v in state.items()}, x[task]) for task in range(3)],
    )
    assert batched.keys() == plain.keys()
    weights = {name: torch.randn(value.shape, generator=generator) for name, value in plain.items()}
    inputs = [*rule.parameters(), *state.values()]
    gradients = []
    for result in (batched, plain):
        loss = sum((result[name] * weight).sum() for name, weight in weights.items())
        gradients.append(torch.autograd.grad(loss, inputs, allow_unused=True, materialize_grads=True))
    for name in plain:
        torch.testing.assert_close(batched[name], plain[name], rtol=1e-11, atol=1e-13)
    largest = max(float(gradient.norm()) for gradient in gradients[1])
    for fast, slow in zip(*gradients, strict=True):
        assert float((fast - slow).norm()) <= 1e-10 * float(slow.norm()) + 1e-12 * largest


def test_a_subclass_with_another_step_is_batched_by_it(rule: Rule, problem: Problem) -> None:
    class Still(type(rule)):
        def step(self, problem, state, views, phase):
            return state

    state, x = several(rule, problem, 2)
    assert_same(batched_step(Still(**rule.config), problem, state, x), state)


def test_tasks_in_a_batch_do_not_mix(example: RuleExample, rule: Rule, problem: Problem) -> None:
    rule = rule.double()
    state, x = several(rule, problem, 3)
    together = batched_step(rule, problem, state, x)
    phase = next(every_step(rule, 1))
    vmapped = vmap(lambda s, v: rule.step(problem, s, v, phase.name))(state, views(phase.views, x))
    x = x.clone()
    x[1] = math.nan
    broken = batched_step(rule, problem, state, x)
    for name, value in together.items():
        torch.testing.assert_close(vmapped[name], value, rtol=1e-11, atol=1e-13)
        assert bool(broken[name][1].isnan().any()) == (name[0] not in example.unreached), name
        for task in (0, 2):
            torch.testing.assert_close(broken[name][task], value[task], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("shared", [0, 2], ids=["none shared", "every other name shared"])
def test_tasks_with_a_theta_each_are_each_task_alone(rule: Rule, problem: Problem, shared: int) -> None:
    rule = shaken(rule.double())
    generator, points, tasks = torch.Generator().manual_seed(8), [1, 2], 3
    own = {
        name: value.detach() * (1 + 0.1 * torch.randn(tasks, *value.shape, generator=generator, dtype=value.dtype))
        for place, (name, value) in enumerate(rule.named_parameters())
        if not shared or place % shared
    }
    state, x = several(rule, problem, tasks)
    several_steps = torch.stack([x, x.flip(-2, -1)])
    with torch.no_grad():
        together = unroll(
            rule,
            theta_of(rule) | own,
            problem,
            state,
            views(rule.consumes, several_steps),
            read_points=points,
            per_task=True,
        )
        for task in range(tasks):
            alone = unroll(
                rule,
                theta_of(rule) | {name: value[task] for name, value in own.items()},
                problem,
                {name: value[task : task + 1] for name, value in state.items()},
                views(rule.consumes, several_steps[:, task : task + 1]),
                read_points=points,
            )
            for found, expected in zip(together, alone, strict=True):
                for name, value in expected.items():
                    torch.testing.assert_close(found[name][task : task + 1], value, rtol=1e-9, atol=1e-11)
