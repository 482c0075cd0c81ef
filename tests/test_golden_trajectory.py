"""Every rule's trajectory and meta-gradient in float64, against what was stored when they were first right.

On the kind of processor that stored them they are the same to the bit, elsewhere within rounding.
`python tests/test_golden_trajectory.py` stores them anew: only where other maths, or another order of sums, is meant.
"""

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.readouts.head import Head
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.objective import Objective
from outer_loop.readouts.prototypes import Prototypes
from tasks.task import Episode
from update_rules.contract import Problem
from update_rules.gradient.learned_start import layout
from update_rules.registry import make_rule

STORED = Path(__file__).parent / "golden" / "trajectory.npz"
WAYS = 3
TANH = MLP((9, 6, 5, 4), "tanh")
METZ = {"hidden": 6, "top_hidden": 5, "delta_channels": 3, "outputs": 4}


class Case(NamedTuple):
    """What a trajectory is of."""

    rule: str
    options: dict[str, Any]
    network: Any = TANH
    objective: Objective = Objective()
    reads: tuple[int, ...] = (3, 6)


HEAD, SUPPORT_HEAD = Objective(Head()), Objective(Head(), Normalisation("support"))
CASES = {
    "neuron_local": Case("neuron_local", {}),
    "hebbian": Case("hebbian", {}),
    "metz": Case("metz", METZ),
    "maml_mlp": Case("maml", {"rate": 0.1, "adapt_normalisation": True}, MLP((9, 6, WAYS)), HEAD, (2,)),
    "maml_conv4": Case(
        "maml",
        {"rate": 0.1, "learned_rates": True, "steps": 2, "adapt_normalisation": True},
        Conv4(3, 1, 3, "stride", WAYS),
        SUPPORT_HEAD,
        (1, 2),
    ),
    "protonet_mlp": Case("protonet", {}, MLP((9, 6, 4)), Objective(Prototypes()), (1,)),
    "protonet_conv4": Case(
        "protonet", {}, Conv4(16, 1, 2, "max"), Objective(Prototypes(), Normalisation("support")), (1,)
    ),
}


def smooth(seed: int, *shape: int) -> torch.Tensor:
    """Numbers in 0..1 that no random generator's version changes."""
    count = int(np.prod(shape))
    return torch.from_numpy((np.modf(np.arange(1, count + 1) * np.sqrt(seed + 2) * 7)[0]).reshape(shape))


def trajectory(name: str) -> dict[str, np.ndarray]:
    """The States of two tasks after the last read point, and θ's update, of a rule whose θ and start are ``smooth``."""
    case = CASES[name]
    network, inputs = case.network, case.network.sizes[0]
    problem = Problem.of(network, ways=WAYS, normalisation=case.objective.normalisation.name)
    weights = {"weights": layout(network.shapes)} if case.rule in ("maml", "protonet") else {}
    rule = make_rule(case.rule, **case.options, **weights).double()
    theta = {}
    for place, (key, value) in enumerate(rule.named_parameters()):
        theta[key] = (value.detach() + 0.1 * (smooth(place, *value.shape) - 0.5)).requires_grad_()
    theta |= dict(rule.named_buffers())
    labels = torch.arange(WAYS).repeat(4)
    unrolls = []
    for task in range(2):
        start = rule.init_state(problem, torch.Generator().manual_seed(0))
        state = {k: 0.5 * (smooth(20 + task + i, *v.shape) - 0.5) for i, (k, v) in enumerate(start.items())}
        if weights:  # a learned start counts its steps from 0
            state["t"] = torch.zeros((), dtype=torch.float64)
        episode = Episode(smooth(5 + task, 12, inputs), labels, smooth(7 + task, 12, inputs), labels)
        steps = case.reads[-1]
        every = {
            "unlabelled": smooth(3 + task, steps, 8, inputs),
            "support_x": episode.support_x.expand(steps, -1, -1),
            "support_y": labels.expand(steps, -1),
        }
        views = {view: every[view] for view in rule.consumes}
        reads, generator = case.reads, torch.Generator()
        unrolls.append(TruncatedUnroll(problem, state, views, reads, (episode,) * len(reads), WAYS, generator))
    estimator = TruncatedBackprop().configured(case.objective)
    estimate = estimator.estimate(rule, theta, unrolls, {})
    states = {
        f"{name}/state{task}/{k}": v.numpy()
        for task, state in enumerate(estimate.carried)
        for k, v in (state or {}).items()
    }
    return states | {f"{name}/update/{k}": v.detach().numpy() for k, v in estimate.direction.items()}


def machine() -> str:
    """What rounding depends on."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    said = [" ".join(line.split()) for line in lines if line.startswith(("vendor_id", "cpu family", "model"))]
    kind = ", ".join(dict.fromkeys(said)) or platform.processor()
    return f"{kind}, torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums of several threads round otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_the_stored_trajectory_still_comes_out(name: str) -> None:
    with np.load(STORED) as file:
        exact = str(file["machine"]) == machine()
        stored = {key: value for key, value in file.items() if key.startswith(f"{name}/")}
    found = trajectory(name)
    assert found.keys() == stored.keys()
    for key, value in stored.items():
        if exact:
            assert found[key].tobytes() == value.tobytes(), key
        np.testing.assert_allclose(found[key], value, rtol=1e-7, atol=1e-9, err_msg=key)


if __name__ == "__main__":
    torch.set_num_threads(1)
    arrays = {k: v for name in CASES for k, v in trajectory(name).items()}
    np.savez_compressed(STORED, machine=machine(), **arrays)
