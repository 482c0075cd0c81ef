"""The Metz rule: sizes, starting values, determinism, vmap and gradients. Its formulae: test_check_reference.py."""

import numpy as np
import pytest
import torch
from torch.func import functional_call, vmap

from inner_loop.networks.mlp import MLP
from update_rules.contract import Problem
from update_rules.metz.change import TERMS
from update_rules.metz.metz import Metz
from update_rules.metz.neurons import weight_statistics

SMALL = {
    "outputs": 3,
    "hidden": 4,
    "h_layers": 1,
    "top_hidden": 4,
    "top_layers": 1,
    "delta_channels": 2,
    "readout_channels": 2,
    "learning_rate": 0.05,
}
PROBLEM = Problem.of(MLP((6, 5, 3)))


def small(**changes: object) -> Metz:
    return Metz(**{**SMALL, **changes})


def drawn(seed: int, batch: int = 7) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return small().init_state(PROBLEM, generator), torch.rand(batch, 6, generator=generator)


def test_defaults_are_the_original_sizes() -> None:
    rule = Metz()
    shapes = {name: tuple(parameter.shape) for name, parameter in rule.named_parameters()}
    assert shapes["top_signal.entry.convolution.weight"] == (5, 1, 64)
    assert shapes["top_signal.across_units.1.convolution.weight"] == (3, 32, 32)
    assert shapes["top_signal.layers.1.convolution.weight"] == (3, 64, 64)
    assert shapes["top_signal.exit.weight"] == (3, 64, 32)
    assert shapes["neuron_state.over_examples.0.convolution.weight"] == (3, 45, 64)
    assert shapes["forward_change.below.weight"] == (64, 7 * 4)
    assert shapes["forward_change.above.weight"] == (64, 8 * 4)
    assert rule.learning_rate == 1e-4
    assert not any(name.startswith("backward_change") for name in shapes)
    assert rule.describe() == {f"mix/{name}": pytest.approx(0.1) for name in TERMS}


def test_theta_depends_on_the_seed_alone_and_leaves_the_global_generator() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = small(seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = type(first)(**first.config), small(seed=4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.error_readout.weight, other.error_readout.weight)


def test_theta_starts_truncated_normal_by_fan_in() -> None:
    rule = Metz()
    weight = rule.neuron_state.over_examples[1].convolution.weight.detach()
    std = (3 * 64) ** -0.5
    assert weight.abs().max() <= 2 * std
    assert float(weight.std()) == pytest.approx(0.88 * std, rel=0.03)  # cutting at two std leaves 0.88 of it
    assert not rule.error_readout.bias.any()


def test_state_starts_as_in_the_original() -> None:
    rule, problem = Metz(), Problem.of(MLP((300, 200, 32)))
    state = rule.init_state(problem, torch.Generator().manual_seed(0))
    assert {key: tuple(value.shape) for key, value in state.items()} == {
        "w1": (300, 200),
        "v1": (300, 200),
        "b1": (200,),
        "w2": (200, 32),
        "v2": (200, 32),
        "b2": (32,),
    }
    assert all(value.dtype == torch.float32 for value in state.values())
    for key, std in (("w1", 0.01), ("v1", 0.01), ("b1", 0.1)):
        assert state[key].abs().max() <= 2 * std
        assert float(state[key].std()) == pytest.approx(0.88 * std, rel=0.1)
    assert not torch.equal(state["w1"], state["v1"])
    again = rule.init_state(problem, torch.Generator().manual_seed(0))
    assert all(torch.equal(state[key], again[key]) for key in state)


def test_backward_weights_move_exactly_as_forward_weights_or_on_their_own() -> None:
    state, x = drawn(0)
    for rule, same in ((small(), True), (small(identical_updates=False), False)):
        activations = PROBLEM.network.forward(state, x)
        change = rule.changes(state, activations, rule.neuron_states(state, activations))
        assert all(torch.equal(change[f"w{layer}"], change[f"v{layer}"]) is same for layer in (1, 2))
        rate = rule.learning_rate
        after = rule.step(PROBLEM, state, {"unlabelled": x}, "train")
        for key, value in state.items():
            torch.testing.assert_close(after[key], value - rate * (value + change[key]), rtol=0, atol=1e-7)


def test_step_is_deterministic_and_leaves_its_arguments() -> None:
    state, x = drawn(1)
    copies = {key: value.clone() for key, value in state.items()}
    rule = small()
    first, second = (rule.step(PROBLEM, state, {"unlabelled": x}, "train") for _ in range(2))
    assert first.keys() == state.keys()
    for key in state:
        assert torch.equal(first[key], second[key])
        assert torch.equal(state[key], copies[key])


@pytest.mark.parametrize("identical", [True, False])
def test_vmap_over_tasks_and_theta_equals_a_loop(identical: bool) -> None:
    rule = small(identical_updates=identical).double()
    tasks = [drawn(seed) for seed in range(3)]
    states = {key: torch.stack([state[key] for state, _ in tasks]).double() for key in tasks[0][0]}
    x = torch.stack([x for _, x in tasks]).double()
    factors = torch.tensor([1.0, 0.9, 1.1], dtype=torch.float64)
    theta = {name: p.detach() * factors.reshape(-1, *[1] * p.dim()) for name, p in rule.named_parameters()}

    def step(theta, state, x):
        return functional_call(rule, theta, ("step", PROBLEM, state, {"unlabelled": x}, "train"))

    torch._C._functorch._set_vmap_fallback_warning_enabled(True)
    try:
        together = vmap(step)(theta, states, x)
        shared = vmap(lambda state, x: rule.step(PROBLEM, state, {"unlabelled": x}, "train"))(states, x)
    finally:
        torch._C._functorch._set_vmap_fallback_warning_enabled(False)
    for task in range(3):
        state = {key: value[task] for key, value in states.items()}
        alone = step({name: value[task] for name, value in theta.items()}, state, x[task])
        plain = rule.step(PROBLEM, state, {"unlabelled": x[task]}, "train")
        for key in state:
            torch.testing.assert_close(together[key][task], alone[key], rtol=0, atol=1e-13)
            torch.testing.assert_close(shared[key][task], plain[key], rtol=0, atol=1e-13)


def test_gradients_reach_theta_and_state_and_are_finite() -> None:
    state, x = drawn(2)
    state = {key: value.requires_grad_() for key, value in state.items()}
    rule = small(identical_updates=False)
    once = rule.step(PROBLEM, state, {"unlabelled": x}, "train")
    after = rule.step(PROBLEM, once, {"unlabelled": x}, "train")
    loss = rule.features(PROBLEM, after, x).square().sum() + sum(value.sin().sum() for value in after.values())
    wanted = dict(rule.named_parameters()) | state
    gradients = dict(zip(wanted, torch.autograd.grad(loss, list(wanted.values())), strict=True))
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    # Only a bias in front of a batch norm has no influence.
    silent = {name for name, gradient in gradients.items() if gradient.abs().max() < 1e-7}
    assert all(name.endswith("convolution.bias") for name in silent), silent


@pytest.mark.parametrize("activation", ["relu", "tanh", "step"])
def test_any_depth_width_and_activation_with_the_same_theta(activation: str) -> None:
    rule = small()
    generator = torch.Generator().manual_seed(0)
    for sizes in ((4, 3), (9, 2, 8, 5, 3)):
        problem = Problem.of(MLP(sizes, activation))
        state = rule.init_state(problem, generator)
        after = rule.step(problem, state, {"unlabelled": torch.rand(5, sizes[0], generator=generator)}, "train")
        assert all(value.isfinite().all() and value.shape == state[key].shape for key, value in after.items())


def test_weight_statistics_of_edge_layers_repeat_the_side_that_exists() -> None:
    generator = torch.Generator().manual_seed(0)
    incoming = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    outgoing = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    only_in, only_out = weight_statistics(incoming, None), weight_statistics(None, outgoing)
    assert torch.equal(only_in[:, :4], only_in[:, 4:])
    assert torch.equal(only_out, weight_statistics(outgoing.T, None))
    both = weight_statistics(incoming, outgoing).numpy()
    raw = []
    for side in (incoming.numpy(), outgoing.numpy().T):
        raw += [np.abs(side).mean(0), np.sqrt((side**2).mean(0) + 1e-6), side.mean(0), np.sqrt(side.var(0) + 1e-8)]
    expected = np.stack(raw, 1)
    np.testing.assert_allclose(both, expected / np.sqrt((expected**2).mean() + 1e-6), atol=1e-14)
    with pytest.raises(ValueError, match="neither incoming nor outgoing"):
        weight_statistics(None, None)


def test_a_network_with_another_output_size_is_refused() -> None:
    rule, problem = small(), Problem.of(MLP((6, 5, 4)))
    for call in (
        lambda: rule.init_state(problem, torch.Generator()),
        lambda: rule.step(problem, {}, {"unlabelled": torch.zeros(2, 6)}, "train"),
    ):
        with pytest.raises(ValueError, match=r"4 outputs, expected the 3 outputs"):
            call()


@pytest.mark.parametrize(("key", "least"), [("outputs", 1), ("hidden", 1), ("readout_channels", 1), ("h_layers", 0)])
def test_sizes_below_the_least_are_refused(key: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"got {key} {least - 1} for the metz rule, expected {least} or more"):
        small(**{key: least - 1})
