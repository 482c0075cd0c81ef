"""The fixed workloads of ``scripts/benchmark.py``: what is computed, by this program and by a naive loop.

Shapes: T tasks, B examples, D inputs, K steps.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import naive_metz
from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from inner_loop.unroll import unroll
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.readouts.metz_objective import metz_objective
from outer_loop.readouts.objective import Objective
from tasks.task import Episode
from update_rules.contract import Problem, Rule, State
from update_rules.metz.metz import Metz
from update_rules.registry import make_rule

WAYS, SHOTS = 10, 10


@dataclass(frozen=True)
class Workload:
    """One meta-gradient of T tasks through K steps, or with ``apply`` K steps without gradients.

    With ``theta_per_task`` every task has a θ of its own, as in populations.
    """

    rule: str
    sizes: tuple[int, ...]
    batch: int
    tasks: int
    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    apply: bool = False
    activation: str = "relu"
    theta_per_task: bool = False
    in_jax: bool = True
    """Whether there is a version in JAX."""


_SMALL = {"outputs": 8, "hidden": 8, "top_hidden": 8, "delta_channels": 4, "readout_channels": 2}
_MIDDLE = {"outputs": 32, "hidden": 16, "top_hidden": 16, "delta_channels": 8, "readout_channels": 2}
_FULL = (196, 128, 128, 128, 128, 32)
WORKLOADS = {
    "A8": Workload("metz", (196, 16, 16, 8), 12, 8, 10, _SMALL),
    "M4": Workload("metz", (196, 64, 64, 32), 64, 4, 10, _MIDDLE),
    "B1": Workload("metz", _FULL, 128, 1, 2),
    "L8": Workload("neuron_local", (196, 64, 64, 32), 64, 8, 10),
    "L64": Workload("neuron_local", (196, 64, 64, 32), 64, 64, 10),
    "apply": Workload("metz", _FULL, 128, 1, 2, apply=True),
    "P12": Workload("hebbian", (196, 64, 64, 32), 64, 12, 10, apply=True, theta_per_task=True, in_jax=False),
    "P12w": Workload(
        "hebbian", (196, 512, 32), 128, 12, 5, {}, True, "winners_linear", theta_per_task=True, in_jax=False
    ),
}


@dataclass(frozen=True)
class Setting:
    """A workload's rule and data, drawn from a fixed seed."""

    workload: Workload
    rule: Rule
    problem: Problem
    unrolls: list[TruncatedUnroll]


def prepare(workload: Workload, device: str = "cpu") -> Setting:
    """The rule, base networks, batches and episodes of ``workload`` on ``device``, the same numbers on any."""
    generator = torch.Generator().manual_seed(0)
    rule = make_rule(workload.rule, **workload.options)
    problem = Problem.of(MLP(workload.sizes, workload.activation))
    inputs = workload.sizes[0]
    labels = torch.arange(WAYS).repeat_interleave(SHOTS)

    def images(*shape: int) -> Tensor:
        return torch.rand(*shape, inputs, generator=generator)

    unrolls = [
        TruncatedUnroll(
            problem=problem,
            carried=rule.init_state(problem, generator),
            views={"unlabelled": images(workload.steps, workload.batch)},
            read_points=(workload.steps,),
            episodes=(Episode(images(len(labels)), labels, images(len(labels)), labels),),
            ways=WAYS,
            generator=generator,
        )
        for _ in range(workload.tasks)
    ]
    return _moved(Setting(workload, rule, problem, unrolls), device, torch.float32)


def in_float64(setting: Setting) -> Setting:
    """The same numbers in float64, on the same device."""
    return _moved(setting, setting.unrolls[0].views["unlabelled"].device, torch.float64)


def _moved(setting: Setting, device: torch.device | str, dtype: torch.dtype) -> Setting:
    def moved(value: Tensor) -> Tensor:
        return value.to(device, dtype if value.is_floating_point() else None)

    unrolls = [
        replace(
            one,
            carried={name: moved(value) for name, value in one.carried.items()},
            views={name: moved(view) for name, view in one.views.items()},
            episodes=tuple(Episode(*map(moved, episode)) for episode in one.episodes),
        )
        for one in setting.unrolls
    ]
    return replace(setting, rule=deepcopy(setting.rule).to(device, dtype), unrolls=unrolls)


def ours(setting: Setting, recompute: bool, compiled: bool = False) -> list[Tensor]:
    """The meta-gradient by ``TruncatedBackprop``, or the last State by ``unroll``."""
    rule = setting.rule
    theta: dict[str, Tensor] = dict(rule.named_parameters())
    if not setting.workload.apply:
        estimator = TruncatedBackprop().configured(Objective(), recompute=recompute, compiled=compiled)
        return list(estimator.estimate(rule, theta, setting.unrolls, {}).direction.values())
    state = stack_states([one.carried for one in setting.unrolls])
    views = {"unlabelled": torch.stack([one.views["unlabelled"] for one in setting.unrolls], 1)}
    own = setting.workload.theta_per_task
    if own:
        count = len(setting.unrolls)
        theta = {name: value.expand(count, *value.shape).clone() for name, value in theta.items()}
    with torch.no_grad():
        points = (setting.workload.steps,)
        reads = unroll(rule, theta, setting.problem, state, views, read_points=points, compiled=compiled, per_task=own)
        last = reads[0]
    return [last[name][0] for name in setting.unrolls[0].carried]


def loop(setting: Setting, step: Callable[[State, Tensor], State]) -> list[Tensor]:
    """The same by a Python loop over tasks around ``step`` and eager autograd."""
    theta = list(setting.rule.parameters())
    losses, ends = [], []
    with torch.set_grad_enabled(not setting.workload.apply):
        for one in setting.unrolls:
            state = one.carried
            for batch in one.views["unlabelled"]:
                state = step(state, batch)
            if setting.workload.apply:
                ends.append(state)
                continue
            episode = one.episodes[0]
            x = torch.cat([episode.support_x, episode.query_x])
            features = setting.rule.features(setting.problem, state, x)
            shots = len(episode.support_y)
            losses.append(
                metz_objective(features[:shots], episode.support_y, features[shots:], episode.query_y, WAYS).loss
            )
    if ends:
        return [ends[0][name] for name in setting.unrolls[0].carried]
    loss = torch.stack(losses).mean()
    return list(torch.autograd.grad(loss, theta, allow_unused=True, materialize_grads=True))


def naive(setting: Setting) -> list[Tensor]:
    """``loop`` around the rule as one would first write it; for ``neuron_local`` around its own ``step``."""
    rule, problem = setting.rule, setting.problem
    if setting.workload.rule != "metz":
        return loop(setting, lambda state, x: rule.step(problem, state, {"unlabelled": x}, "train"))
    theta = dict(rule.named_parameters())
    return loop(setting, lambda state, x: naive_metz.step(cast(Metz, rule), theta, problem.network, state, x))


def multiply_adds(setting: Setting) -> int:
    """Multiply-adds of the matrix products of the plain step, both ways; counted on one of its equal tasks."""
    one = Setting(setting.workload, setting.rule, setting.problem, setting.unrolls[:1])
    rule, problem = setting.rule, setting.problem
    with FlopCounterMode(display=False) as counter:
        loop(one, lambda state, x: rule.step(problem, state, {"unlabelled": x}, "train"))
    return counter.get_total_flops() // 2 * setting.workload.tasks
