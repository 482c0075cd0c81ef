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
from outer_loop.estimators.truncated_backprop import Piece, TruncatedBackprop
from outer_loop.readouts.metz_objective import metz_objective
from tasks.task import Episode
from update_rules.contract import Rule, State
from update_rules.metz.metz import Metz
from update_rules.registry import make_rule

WAYS, SHOTS = 10, 10


@dataclass(frozen=True)
class Workload:
    """One meta-gradient of T tasks through K steps, or with ``apply`` K steps without gradients."""

    rule: str
    sizes: tuple[int, ...]
    batch: int
    tasks: int
    steps: int
    options: dict[str, Any] = field(default_factory=dict)
    apply: bool = False


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
}


@dataclass(frozen=True)
class Setting:
    """A workload's rule and data, drawn from a fixed seed."""

    workload: Workload
    rule: Rule
    network: MLP
    pieces: list[Piece]


def prepare(workload: Workload, device: str = "cpu") -> Setting:
    """The rule, base networks, batches and episodes of ``workload`` on ``device``, the same numbers on any."""
    generator = torch.Generator().manual_seed(0)
    rule = make_rule(workload.rule, **workload.options)
    network = MLP(workload.sizes)
    inputs = workload.sizes[0]
    labels = torch.arange(WAYS).repeat_interleave(SHOTS)

    def images(*shape: int) -> Tensor:
        return torch.rand(*shape, inputs, generator=generator)

    pieces = [
        Piece(
            network=network,
            state=rule.init_state(network, generator),
            views={"unlabelled": images(workload.steps, workload.batch)},
            read_points=(workload.steps,),
            episodes=(Episode(images(len(labels)), labels, images(len(labels)), labels),),
            ways=WAYS,
        )
        for _ in range(workload.tasks)
    ]
    return _moved(Setting(workload, rule, network, pieces), device, torch.float32)


def in_float64(setting: Setting) -> Setting:
    """The same numbers in float64, on the same device."""
    return _moved(setting, setting.pieces[0].views["unlabelled"].device, torch.float64)


def _moved(setting: Setting, device: torch.device | str, dtype: torch.dtype) -> Setting:
    def moved(value: Tensor) -> Tensor:
        return value.to(device, dtype if value.is_floating_point() else None)

    pieces = [
        replace(
            piece,
            state={name: moved(value) for name, value in piece.state.items()},
            views={name: moved(view) for name, view in piece.views.items()},
            episodes=tuple(Episode(*map(moved, episode)) for episode in piece.episodes),
        )
        for piece in setting.pieces
    ]
    return replace(setting, rule=deepcopy(setting.rule).to(device, dtype), pieces=pieces)


def ours(setting: Setting, recompute: bool, compiled: bool = False) -> list[Tensor]:
    """The meta-gradient by ``TruncatedBackprop``, or the last State by ``unroll``."""
    rule, theta = setting.rule, dict(setting.rule.named_parameters())
    if not setting.workload.apply:
        estimate = TruncatedBackprop(recompute=recompute, compiled=compiled).estimate(rule, theta, setting.pieces)
        return list(estimate.update.values())
    state = stack_states([piece.state for piece in setting.pieces])
    views = {"unlabelled": torch.stack([piece.views["unlabelled"] for piece in setting.pieces], 1)}
    with torch.no_grad():
        points = (setting.workload.steps,)
        last = unroll(rule, theta, setting.network, state, views, read_points=points, compiled=compiled)[0]
    return [last[name][0] for name in setting.pieces[0].state]


def loop(setting: Setting, step: Callable[[State, Tensor], State]) -> list[Tensor]:
    """The same by a Python loop over tasks around ``step`` and eager autograd."""
    theta = list(setting.rule.parameters())
    losses = []
    with torch.set_grad_enabled(not setting.workload.apply):
        for piece in setting.pieces:
            state = piece.state
            for batch in piece.views["unlabelled"]:
                state = step(state, batch)
            if setting.workload.apply:
                return [state[name] for name in piece.state]
            episode = piece.episodes[0]
            x = torch.cat([episode.support_x, episode.query_x])
            features = setting.rule.features(setting.network, state, x)
            shots = len(episode.support_y)
            losses.append(
                metz_objective(features[:shots], episode.support_y, features[shots:], episode.query_y, WAYS).loss
            )
    loss = torch.stack(losses).mean()
    return list(torch.autograd.grad(loss, theta, allow_unused=True, materialize_grads=True))


def naive(setting: Setting) -> list[Tensor]:
    """``loop`` around the rule as one would first write it; for ``neuron_local`` around its own ``step``."""
    rule, network = setting.rule, setting.network
    if setting.workload.rule != "metz":
        return loop(setting, lambda state, x: rule.step(network, state, {"unlabelled": x}))
    theta = dict(rule.named_parameters())
    return loop(setting, lambda state, x: naive_metz.step(cast(Metz, rule), theta, network, state, x))


def multiply_adds(setting: Setting) -> int:
    """Multiply-adds of the matrix products in one run of the plain step, forward and backward without recomputation.

    Counted on one task and multiplied, since all tasks are alike.
    """
    one = Setting(setting.workload, setting.rule, setting.network, setting.pieces[:1])
    rule, network = setting.rule, setting.network
    with FlopCounterMode(display=False) as counter:
        loop(one, lambda state, x: rule.step(network, state, {"unlabelled": x}))
    return counter.get_total_flops() // 2 * setting.workload.tasks
