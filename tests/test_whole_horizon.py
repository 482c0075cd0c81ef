"""Estimators that see over the whole of a trajectory cut into truncated unrolls, where truncation is wrong."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from estimator_toys import Oja, plain_loss, unroll_of
from torch import Tensor

from inner_loop.unroll import theta_of
from outer_loop.estimators.contract import Estimator, TruncatedUnroll
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.readouts.objective import Objective
from update_rules.contract import Problem, State, StepViews
from update_rules.local.neuron_local import NeuronLocal

WINDOWS = 4
DEVIATION = 0.005


def windows(rule: Oja) -> list[TruncatedUnroll]:
    """The data of a trajectory of WINDOWS unrolls, all under one State at first."""
    found = [unroll_of(rule, seed, (4, 3), (1, 2)) for seed in range(WINDOWS)]
    return [replace(one, carried=found[0].carried) for one in found]


def whole_gradient(rule: Oja, some: Sequence[TruncatedUnroll], *, cut: bool = False) -> Tensor:
    """Of the sum of the losses of all unrolls, each from where the last ended; with ``cut`` as if that were data."""
    theta, total, state = theta_of(rule), torch.zeros(()), some[0].carried
    for one in some:
        if cut:
            state = {name: value.detach() for name, value in state.items()}
        loss, state = plain_loss(rule, theta, replace(one, carried=state))
        total = total + loss
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(total, list(rule.parameters()))])


def summed(estimator: Estimator, rule: Oja, some: Sequence[TruncatedUnroll], seeds: Sequence[int]) -> Tensor:
    """The sum over unrolls of the mean direction of a trajectory for each of ``seeds``, which all noise comes from."""
    theta = theta_of(rule)
    streams = [torch.Generator().manual_seed(seed) for seed in seeds]
    carried = [estimator.start(rule, theta, some[0].carried, stream) for stream in streams]
    total = torch.zeros(sum(value.numel() for value in rule.parameters()))
    for one in some:
        copies = [replace(one, carried=c, generator=stream) for c, stream in zip(carried, streams, strict=True)]
        found = estimator.estimate(rule, theta, copies, {})
        carried = [left for left in found.carried if left is not None]
        assert len(carried) == len(seeds)
        total += torch.cat([found.direction[name].flatten() for name, _ in rule.named_parameters()])
    return total


def made(name: str, **options: float) -> Estimator:
    return ESTIMATORS.make(name, options).configured(Objective())


def test_the_toy_is_one_where_truncation_is_wrong() -> None:
    rule = Oja()
    some = windows(rule)
    whole, cut = whole_gradient(rule, some), whole_gradient(rule, some, cut=True)
    torch.testing.assert_close(summed(made("truncated_backprop"), rule, some, [0]), cut, rtol=1e-4, atol=1e-6)
    assert float((whole - cut).norm()) > 0.3 * float(whole.norm())


def test_forward_mode_is_exact_over_the_whole_horizon() -> None:
    rule = Oja()
    some = windows(rule)
    found = summed(made("forward_mode", chunk=2), rule, some, [0])
    torch.testing.assert_close(found, whole_gradient(rule, some), rtol=1e-4, atol=1e-6)


def test_forward_mode_is_exact_for_a_rule_whose_steps_of_many_tasks_have_no_derivative_in_it() -> None:
    rule = NeuronLocal(hidden=2, error_channels=2, readout_channels=1)
    with torch.no_grad():
        rule.log_rate.fill_(-0.2)
    one = unroll_of(rule, 0, (4, 3), (1, 2))
    theta = theta_of(rule)
    found = {}
    for name in ("forward_mode", "truncated_backprop"):
        estimator = made(name)
        begun = replace(one, carried=estimator.start(rule, theta, one.carried, one.generator))
        found[name] = estimator.estimate(rule, theta, [begun], {}).direction
    for name, value in found["truncated_backprop"].items():
        torch.testing.assert_close(found["forward_mode"][name], value, rtol=1e-3, atol=1e-5, msg=name)


class _Doubled(torch.autograd.Function):
    """Twice a tensor, without a derivative in forward mode."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * grad


class ByHand(Oja):
    """A step with a derivative of its own, for backpropagation alone."""

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        after = super().step(problem, state, views, phase)
        return {**after, "b1": _Doubled.apply(after["b1"])}


def test_a_step_without_a_derivative_in_forward_mode_is_refused() -> None:
    rule = ByHand()
    with pytest.raises(
        ValueError, match="rule byhand has a step without a derivative in forward mode, expected another"
    ):
        summed(made("forward_mode"), rule, windows(rule), [0])


def test_full_backpropagation_is_what_the_whole_trajectory_gives() -> None:
    """As one unroll, whose read points have the same episodes."""
    rule = Oja()
    some = windows(rule)
    views = {"unlabelled": torch.cat([one.views["unlabelled"] for one in some])}
    points = tuple(2 * place + read for place, one in enumerate(some) for read in one.read_points)
    episodes = tuple(episode for one in some for episode in one.episodes)
    whole = replace(some[0], views=views, read_points=points, episodes=episodes)
    found = summed(made("full_backprop"), rule, [whole], [0])
    torch.testing.assert_close(WINDOWS * found, whole_gradient(rule, some), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [("persistent_es", {}), ("noise_reuse_es", {}), ("noise_reuse_es", {"reuse": 4}), ("evolution_strategies", {})],
    ids=["persistent", "reused", "reused for two unrolls", "plain"],
)
def test_persistent_noise_finds_what_truncation_hides(name: str, options: dict[str, float]) -> None:
    """Means over many trajectories, compared by their errors, with little noise in θ; plain ones agree with the cut."""
    rule = Oja()
    some = windows(rule)
    estimator = made(name, deviation=DEVIATION, pairs=4, **options)
    means = torch.stack([summed(estimator, rule, some, range(200 * k, 200 * k + 200)) for k in range(12)])
    mean, error = means.mean(0), means.std(0) / len(means) ** 0.5
    whole, cut = whole_gradient(rule, some), whole_gradient(rule, some, cut=True)
    right, wrong = (cut, whole) if name == "evolution_strategies" else (whole, cut)
    slack = 4 * error + 0.03 * right.abs()  # of smoothing
    assert ((mean - right).abs() <= slack).all()
    assert ((mean - wrong).abs() > slack).any()
