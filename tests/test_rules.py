"""The contract that every rule keeps, one test per promise."""

import math

import pytest
import torch
from torch.func import functional_call, vmap

from inner_loop.activations import ACTIVATIONS
from inner_loop.mlp import MLP
from inner_loop.states import stack_states
from tasks.dataset import Dataset
from tasks.task import TaskSource
from update_rules.contract import Rule, State
from update_rules.registry import RULES, make_rule
from update_rules.rule_file import load_rule, save_rule

OPTIONS = {
    "metz": {
        "outputs": 5,
        "hidden": 6,
        "top_hidden": 6,
        "delta_channels": 3,
        "readout_channels": 2,
        "learning_rate": 0.01,
    },
    "neuron_local": {"hidden": 6, "error_channels": 3, "rate": 0.03},
    "hebbian": {},
}
NETWORK = MLP((9, 7, 6, 5))


@pytest.fixture(params=sorted(RULES))
def rule(request: pytest.FixtureRequest) -> Rule:
    return make_rule(request.param, **OPTIONS[request.param])


def start(rule: Rule, network: MLP = NETWORK, seed: int = 0) -> State:
    return rule.init_state(network, torch.Generator().manual_seed(seed))


def batch(examples: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.rand(examples, NETWORK.sizes[0], generator=torch.Generator().manual_seed(seed))


def trained(rule: Rule, network: MLP = NETWORK, steps: int = 3) -> State:
    state = start(rule, network)
    with torch.no_grad():
        for step in range(steps):
            state = rule.step(network, state, {"unlabelled": batch(seed=step)})
    return state


def test_every_registered_rule_is_tested() -> None:
    assert set(OPTIONS) == set(RULES)


def test_a_step_keeps_shapes_and_types_and_changes_every_weight(rule: Rule) -> None:
    before, after = start(rule), trained(rule, steps=1)
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {k: (v.shape, v.dtype) for k, v in after.items()}
    for name in before:
        assert after[name].isfinite().all()
        if name.startswith("w"):
            assert not torch.equal(before[name], after[name]), name


def test_features_have_the_size_of_the_top_layer(rule: Rule) -> None:
    assert rule.features(NETWORK, trained(rule), batch(20)).shape == (20, 5)


def test_the_same_arguments_give_the_same_bits_and_leave_the_arguments_alone(rule: Rule) -> None:
    state, x = start(rule), batch()
    copy = {name: value.clone() for name, value in state.items()}
    torch.manual_seed(1)
    first = rule.step(NETWORK, state, {"unlabelled": x})
    torch.manual_seed(2)
    second = rule.step(NETWORK, state, {"unlabelled": x})
    for name in state:
        assert torch.equal(first[name], second[name])
        assert torch.equal(state[name], copy[name])


def test_the_seed_alone_decides_the_start(rule: Rule) -> None:
    same, other = start(rule), start(rule, seed=1)
    for name, value in start(rule).items():
        assert torch.equal(value, same[name])
    assert not torch.equal(same["w1"], other["w1"])


def test_labels_never_reach_the_state(rule: Rule) -> None:
    """The whole inner loop of a task, bit for bit, under any relabelling of the data set."""
    draw = torch.Generator().manual_seed(3)
    x, y = torch.rand(60, 9, generator=draw), torch.arange(60) % 3
    states = []
    for labels in (y, (y + 1) % 3):
        data = Dataset(name="toy", x=x, y=labels, image_shape=None, class_names=("a", "b", "c"), group=None)
        task = TaskSource((data,), ways=3, shots=2, queries=2, permute=True).draw(torch.Generator().manual_seed(4))
        # The pool is listed class by class, so compare tasks that see the same examples in the same order.
        rows = task.pool.sort().values
        state = start(rule)
        for step in range(3):
            chosen = rows[torch.randperm(60, generator=torch.Generator().manual_seed(step))[:12]]
            views = {"unlabelled": data.x[chosen][:, task.permutation]}
            state = rule.step(NETWORK, state, {name: views[name] for name in rule.consumes})
        states.append(state)
    assert "unlabelled" in rule.consumes
    assert not {"support", "query"} & set(rule.consumes)
    for name in states[0]:
        assert torch.equal(states[0][name], states[1][name])


@pytest.mark.parametrize("what", ["units", "inputs", "examples"])
def test_permutations_that_the_rule_claims_pass_through_it(rule: Rule, what: str) -> None:
    if what not in rule.equivariant:
        assert rule.name == "metz", "only the original depends on an order"
        return
    rule = rule.double()
    state = {name: value.double() for name, value in start(rule).items()}
    x = batch().double()
    after = rule.step(NETWORK, state, {"unlabelled": x})
    draw = torch.Generator().manual_seed(5)
    order = [torch.arange(n) for n in NETWORK.sizes]
    examples = torch.arange(len(x))
    if what == "examples":
        examples = torch.randperm(len(x), generator=draw)
    for layer in [0] if what == "inputs" else [1, 2, 3] if what == "units" else []:
        order[layer] = torch.randperm(NETWORK.sizes[layer], generator=draw)

    def permuted(s: State) -> State:
        out = {}
        for name, value in s.items():
            if value.dim() == 0:
                out[name] = value
                continue
            layer = int(name[1:])
            rows = value if value.dim() == 1 else value[order[layer - 1]].T
            out[name] = rows[order[layer]].T if value.dim() == 2 else rows[order[layer]]
        return out

    moved = rule.step(NETWORK, permuted(state), {"unlabelled": x[examples][:, order[0]]})
    for name, value in permuted(after).items():
        torch.testing.assert_close(moved[name], value, rtol=1e-9, atol=1e-11)


def test_gradients_in_theta_are_finite_and_reach_every_parameter(rule: Rule) -> None:
    state = start(rule)
    for step in range(2):
        state = rule.step(NETWORK, state, {"unlabelled": batch(seed=step)})
    features = rule.features(NETWORK, state, batch(20, seed=9))
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(6))
    loss = (features * weights).sum()
    gradients = torch.autograd.grad(loss, list(rule.parameters()), allow_unused=True)
    for (name, _), gradient in zip(rule.named_parameters(), gradients, strict=True):
        assert gradient is not None, name
        assert gradient.isfinite().all(), name


def test_gradient_equals_finite_differences(rule: Rule) -> None:
    state = {name: value.double() for name, value in trained(rule).items()}
    draw = torch.Generator().manual_seed(7)
    # Away from the start, where offsets of 0 put some relu exactly on its kink.
    theta = {
        name: p.detach().double() + 0.1 * torch.randn(p.shape, generator=draw) for name, p in rule.named_parameters()
    }
    x = batch().double()
    direction = {name: torch.randn(p.shape, generator=draw, dtype=torch.float64) for name, p in theta.items()}
    weights = torch.randn(len(x), 5, generator=draw, dtype=torch.float64)

    def loss(scale: torch.Tensor) -> torch.Tensor:
        moved = {name: p + scale * direction[name] for name, p in theta.items()}
        after = functional_call(rule, moved, ("step", NETWORK, state, {"unlabelled": x}))
        return (rule.features(NETWORK, after, x) * weights).sum()

    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(scale), scale)
    h = 1e-7
    measured = (loss(torch.tensor(h)) - loss(torch.tensor(-h))) / (2 * h)
    assert math.isclose(float(slope), float(measured), rel_tol=2e-4, abs_tol=1e-5)


def several(rule: Rule, network: MLP, tasks: int) -> tuple[State, torch.Tensor]:
    """A float64 State [T, ...] and batches [T, B, D]."""
    generator = torch.Generator().manual_seed(3)
    states = stack_states([rule.init_state(network, generator) for _ in range(tasks)])
    state = {name: value.double().requires_grad_() for name, value in states.items()}
    return state, torch.rand(tasks, 11, network.sizes[0], generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("options", [{}, {"identical_updates": False, "h_layers": 0, "top_layers": 1}])
@pytest.mark.parametrize("sizes", [(9, 7, 6, 5), (9, 5), (60, 3, 5)])
def test_a_batched_step_is_the_step_of_every_task(rule: Rule, options: dict[str, bool], sizes: tuple[int, ...]) -> None:
    if options and rule.name != "metz":
        pytest.skip("options of the metz rule")
    rule = make_rule(rule.name, **(OPTIONS[rule.name] | options)).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1)
    network = MLP(sizes)
    state, x = several(rule, network, 3)
    batched = rule.batched_step(network, state, {"unlabelled": x})
    plain = stack_states(
        [rule.step(network, {n: v[task] for n, v in state.items()}, {"unlabelled": x[task]}) for task in range(3)]
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


def test_a_subclass_with_another_step_is_batched_by_it(rule: Rule) -> None:
    class Still(type(rule)):
        def step(self, network, state, views):
            return state

    state, x = several(rule, NETWORK, 2)
    after = Still(**rule.config).batched_step(NETWORK, state, {"unlabelled": x})
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_tasks_in_a_batch_do_not_mix(rule: Rule) -> None:
    rule = rule.double()
    state, x = several(rule, NETWORK, 3)
    views = {"unlabelled": x}
    together = rule.batched_step(NETWORK, state, views)
    x = x.clone()
    x[1] = math.nan
    broken = rule.batched_step(NETWORK, state, {"unlabelled": x})
    vmapped = vmap(lambda s, b: rule.step(NETWORK, s, {"unlabelled": b}))(state, views["unlabelled"])
    for name, value in together.items():
        torch.testing.assert_close(vmapped[name], value, rtol=1e-11, atol=1e-13)
        assert name == "t" or broken[name][1].isnan().any()
        for task in (0, 2):
            torch.testing.assert_close(broken[name][task], value[task], rtol=1e-11, atol=1e-13)


def test_a_saved_rule_does_the_same(rule: Rule, tmp_path) -> None:
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.mul_(1.01)
    save_rule(tmp_path / "rule.safetensors", rule, {"sources": ["toy"], "outer_steps": 1})
    again = load_rule(tmp_path / "rule.safetensors")
    for name, value in trained(rule).items():
        assert torch.equal(value, trained(again)[name])


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_gives_finite_states(rule: Rule, activation: str) -> None:
    state = trained(rule, MLP(NETWORK.sizes, activation))
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("sizes", [(9, 5), (9, 3, 5), (9, 4, 8, 2, 6, 5)])
def test_any_depth_and_width_runs(rule: Rule, sizes: tuple[int, ...]) -> None:
    state = trained(rule, MLP(sizes))
    assert all(value.isfinite().all() for value in state.values())


def test_a_constant_batch_stays_finite(rule: Rule) -> None:
    after = rule.step(NETWORK, start(rule), {"unlabelled": torch.zeros(12, 9)})
    assert all(value.isfinite().all() for value in after.values())


def test_learned_scalars_are_named(rule: Rule) -> None:
    described = rule.describe()
    assert all(isinstance(value, float) for value in described.values())


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("metz", "hidden", 0),
        ("metz", "h_layers", -1),
        ("neuron_local", "error_channels", 0),
        ("neuron_local", "rate", 1.5),
        ("hebbian", "rate", 0.0),
    ],
)
def test_impossible_options_are_named(name: str, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"got {option} {value} for the {name} rule"):
        make_rule(name, **{option: value})


def test_the_hebbian_rule_prints_as_an_equation() -> None:
    lines = make_rule("hebbian").equation().splitlines()
    assert len(lines) == 14
    assert lines[1] == "  (+1.000 +0.000 z) N[⟨v softmax(β u)⟩ · N]   compete"
    assert lines[-1].startswith("Δb = 0.1000 (1 + t)^-0.300 ·")
