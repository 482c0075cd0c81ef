"""A rule whose steps vmap cannot take runs task by task, with the same states and gradients."""

import pytest
import torch
from rule_states import several
from torch import nn

from inner_loop.unroll import unroll
from update_rules.contract import UNLABELLED, Problem, Rule, State, StepViews


class Mean(Rule):
    """A toy: the State goes a learned part of the way to the mean of a batch."""

    name = "mean"

    def __init__(self) -> None:
        super().__init__()
        self.config = {}
        self.rate = nn.Parameter(torch.tensor(0.25))

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        return {"mean": torch.rand(problem.inputs, generator=generator), "t": torch.zeros(())}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        goal = views[UNLABELLED].mean(0)
        return {"mean": torch.lerp(state["mean"], goal, self.rate), "t": state["t"] + 1}


class LoopedMean(Mean):
    """The same, one task after the other."""

    batching = "loop"


class MeanOutsideTorch(LoopedMean):
    """The same by numpy, which vmap cannot take."""

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        mean, goal, rate = (value.detach().numpy() for value in (state["mean"], views[UNLABELLED].mean(0), self.rate))
        return {"mean": torch.from_numpy(mean + rate * (goal - mean)), "t": state["t"] + 1}


@pytest.mark.parametrize("per_task", [False, True])
def test_a_rule_in_a_loop_gives_what_vmap_gives(per_task: bool) -> None:
    problem, tasks = Problem(4), 3
    state, x = several(Mean(), problem, tasks)
    theta = {"rate": torch.tensor([0.25, 0.5, 0.75]) if per_task else torch.tensor(0.25)}
    theta = {name: value.double().requires_grad_() for name, value in theta.items()}

    def found(rule: Rule) -> list[State]:
        seen = {UNLABELLED: torch.stack([x, -x])}
        return unroll(rule, theta, problem, state, seen, read_points=[1, 2], per_task=per_task)

    expected = found(Mean())
    looped = found(LoopedMean())
    for one, other in zip(looped, expected, strict=True):
        torch.testing.assert_close(one, other)
    inputs = [*theta.values(), state["mean"]]
    slopes = [torch.autograd.grad(reads[-1]["mean"].square().sum(), inputs) for reads in (looped, expected)]
    torch.testing.assert_close(*slopes)
    with torch.no_grad():
        for one, other in zip(found(MeanOutsideTorch()), expected, strict=True):
            torch.testing.assert_close(one, other)
