"""Every rule's trajectory and meta-gradient in float64, against what was stored when they were first right.

`python tests/test_golden_trajectory.py` stores them anew: only where a change of the maths is meant.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from inner_loop.mlp import MLP
from outer_loop.outer_estimator import Piece, TruncatedBackprop
from tasks.task import Episode
from update_rules.registry import make_rule

STORED = Path(__file__).parent / "golden" / "trajectory.npz"
SIZES = {"neuron_local": {}, "hebbian": {}, "metz": {"hidden": 6, "top_hidden": 5, "delta_channels": 3, "outputs": 4}}


def smooth(seed: int, *shape: int) -> torch.Tensor:
    """Numbers in 0..1 that no random generator's version changes."""
    count = int(np.prod(shape))
    return torch.from_numpy((np.modf(np.arange(1, count + 1) * np.sqrt(seed + 2) * 7)[0]).reshape(shape))


def trajectory(name: str) -> dict[str, np.ndarray]:
    """The State after 6 inner steps of two tasks, and θ's update, of a rule whose θ and start are ``smooth``."""
    rule, network = make_rule(name, **SIZES[name]).double(), MLP((9, 6, 5, 4), "tanh")
    theta = {}
    for place, (key, value) in enumerate(rule.named_parameters()):
        theta[key] = (value.detach() + 0.1 * (smooth(place, *value.shape) - 0.5)).requires_grad_()
    theta |= dict(rule.named_buffers())
    labels = torch.arange(3).repeat(4)
    pieces = []
    for task in range(2):
        start = rule.init_state(network, torch.Generator().manual_seed(0))
        state = {k: 0.5 * (smooth(20 + task + i, *v.shape) - 0.5) for i, (k, v) in enumerate(start.items())}
        episode = Episode(smooth(5 + task, 12, 9), labels, smooth(7 + task, 12, 9), labels)
        views = {"unlabelled": smooth(3 + task, 6, 8, 9)}
        pieces.append(Piece(network, state, views, (3, 6), (episode, episode), 3))
    estimate = TruncatedBackprop().estimate(rule, theta, pieces)
    states = {
        f"{name}/state{task}/{k}": v.numpy()
        for task, state in enumerate(estimate.states)
        for k, v in (state or {}).items()
    }
    return states | {f"{name}/update/{k}": v.detach().numpy() for k, v in estimate.update.items()}


@pytest.mark.parametrize("name", SIZES)
def test_the_stored_trajectory_still_comes_out(name: str) -> None:
    stored = {key: value for key, value in np.load(STORED).items() if key.startswith(f"{name}/")}
    found = trajectory(name)
    assert found.keys() == stored.keys()
    for key, value in stored.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-7, atol=1e-9, err_msg=key)


if __name__ == "__main__":
    np.savez_compressed(STORED, **{k: v for name in SIZES for k, v in trajectory(name).items()})
