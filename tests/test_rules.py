"""The contract that every rule keeps, one test per promise."""

import math
from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, vmap

from common.components import Option
from inner_loop.networks.activations import NETWORK_ACTIVATIONS
from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from outer_loop.trajectories import Shape, Slot
from tasks.dataset import Dataset
from tasks.task import TaskShape, TaskSource
from update_rules.contract import Rule, State
from update_rules.gradient.learned_start import LearnedStart, layout
from update_rules.local.hebbian import BIAS_TERMS, ELEMENTWISE_START, TERMS
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
    "maml": {"rate": 0.3, "learned_rates": True, "steps": 2},
    "protonet": {},
}
NETWORK = MLP((9, 7, 6, 5))
LABELS = torch.arange(100) % 5


def made(name: str, network: MLP = NETWORK, **options: Option) -> Rule:
    """The rule of that name; one that learns where a network starts does so for ``network``."""
    weights = {"weights": layout(network.shapes)} if "weights" in RULES.options(name) else {}
    return make_rule(name, **(OPTIONS[name] | weights | options))


def views(rule: Rule, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The views that ``rule`` consumes, of the examples ``x`` [..., B, D]."""
    every = {"unlabelled": x, "support_x": x, "support_y": LABELS[: x.shape[-2]].expand(x.shape[:-1])}
    return {name: every[name] for name in rule.consumes}


@pytest.fixture(params=sorted(RULES.names))
def rule(request: pytest.FixtureRequest) -> Rule:
    return made(request.param)


def start(rule: Rule, network: MLP = NETWORK, seed: int = 0) -> State:
    return rule.init_state(network, torch.Generator().manual_seed(seed))


def batch(examples: int = 12, seed: int = 1) -> torch.Tensor:
    return torch.rand(examples, NETWORK.sizes[0], generator=torch.Generator().manual_seed(seed))


def trained(rule: Rule, network: MLP = NETWORK, steps: int = 3) -> State:
    rule = made(rule.name, network) if network.sizes != NETWORK.sizes else rule
    state = start(rule, network)
    with torch.no_grad():
        for step in range(steps):
            state = rule.step(network, state, views(rule, batch(seed=step)))
    return state


def test_every_registered_rule_is_tested() -> None:
    assert set(OPTIONS) == set(RULES.names)


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
    first = rule.step(NETWORK, state, views(rule, x))
    torch.manual_seed(2)
    second = rule.step(NETWORK, state, views(rule, x))
    for name in state:
        assert torch.equal(first[name], second[name])
        assert torch.equal(state[name], copy[name])


def test_the_seed_alone_decides_the_start(rule: Rule) -> None:
    same, other = start(rule), start(rule, seed=1)
    for name, value in start(rule).items():
        assert torch.equal(value, same[name])
    if isinstance(rule, LearnedStart):  # the start is θ, which a seed of its own decides
        assert not torch.equal(rule.start["w1"], made(rule.name, seed=1).start["w1"])
        same, other = {"w1": rule.start["w1"]}, {"w1": made(rule.name, seed=1).start["w1"]}
    assert not torch.equal(same["w1"], other["w1"])


@pytest.mark.parametrize("read_points", [[3], [1, 2, 3]])
def test_no_label_reaches_the_state_of_a_rule_that_does_not_ask_for_them(rule: Rule, read_points: list[int]) -> None:
    """The whole inner loop of a task, bit for bit, under any relabelling, with the views of the trainer."""
    draw = torch.Generator().manual_seed(3)
    x, y = torch.rand(60, 9, generator=draw), torch.arange(60) % 3
    states = []
    for labels in (y, (y + 1) % 3):
        data = Dataset(name="toy", x=x, y=labels, image_shape=None, class_names=("a", "b", "c"), group=None)
        # Shots that take the whole pool but the queries: what differs between the two is labels alone.
        task = TaskSource((data,), ways=3, shots=2, queries=2, permute=True).draw(torch.Generator().manual_seed(4))
        task = replace(task, pool=torch.arange(60), labels=labels)
        shape = Shape(TaskShape(0, 3, 2, 9), NETWORK, 12)
        slot = Slot(task, shape, start(rule), 0, 3, torch.Generator().manual_seed(5), torch.Generator())
        piece = slot.piece(read_points, torch.device("cpu"), rule.consumes)
        assert list(piece.views) == list(rule.consumes)
        assert all(len(view) == 3 for view in piece.views.values())
        state = piece.state
        for step in range(3):
            state = rule.step(NETWORK, state, {name: view[step] for name, view in piece.views.items()})
        states.append(state)
        if "support_y" in rule.consumes:
            for step in range(3):
                assert torch.equal(piece.views["support_x"][step], piece.episodes[0].support_x)
            assert all(episode is piece.episodes[0] for episode in piece.episodes)
    blind = all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert blind == ("support_y" not in rule.consumes)
    assert blind == (rule.name != "maml")


@pytest.mark.parametrize("what", ["units", "inputs", "examples"])
def test_permutations_that_the_rule_claims_pass_through_it(rule: Rule, what: str) -> None:
    if what not in rule.equivariant:
        assert rule.name in ("metz", "maml", "protonet"), "only the original and a learned start depend on an order"
        return
    rule = rule.double()
    state = {name: value.double() for name, value in start(rule).items()}
    x = batch().double()
    after = rule.step(NETWORK, state, views(rule, x))
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
        state = rule.step(NETWORK, state, views(rule, batch(seed=step)))
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
        after = functional_call(rule, moved, ("step", NETWORK, state, views(rule, x)))
        return (functional_call(rule, moved, ("features", NETWORK, after, x)) * weights).sum()

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
    network = MLP(sizes)
    rule = made(rule.name, network, **options).double()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=0.1)
    state, x = several(rule, network, 3)
    batched = rule.batched_step(network, state, views(rule, x))
    plain = stack_states(
        [rule.step(network, {n: v[task] for n, v in state.items()}, views(rule, x[task])) for task in range(3)]
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
    after = Still(**rule.config).batched_step(NETWORK, state, views(rule, x))
    assert all(torch.equal(after[name], value) for name, value in state.items())


def test_tasks_in_a_batch_do_not_mix(rule: Rule) -> None:
    rule = rule.double()
    state, x = several(rule, NETWORK, 3)
    together = rule.batched_step(NETWORK, state, views(rule, x))
    vmapped = vmap(lambda s, v: rule.step(NETWORK, s, v))(state, views(rule, x))
    x = x.clone()
    x[1] = math.nan
    broken = rule.batched_step(NETWORK, state, views(rule, x))
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


@pytest.mark.parametrize("activation", sorted(NETWORK_ACTIVATIONS))
def test_every_activation_gives_finite_states(rule: Rule, activation: str) -> None:
    state = trained(rule, MLP(NETWORK.sizes, activation))
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("sizes", [(9, 5), (9, 3, 5), (9, 4, 8, 2, 6, 5)])
def test_any_depth_and_width_runs(rule: Rule, sizes: tuple[int, ...]) -> None:
    state = trained(rule, MLP(sizes))
    assert all(value.isfinite().all() for value in state.values())


def test_a_constant_batch_stays_finite(rule: Rule) -> None:
    after = rule.step(NETWORK, start(rule), views(rule, torch.zeros(12, 9)))
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
        ("maml", "rate", 0.0),
        ("maml", "steps", 0),
        ("maml", "weights", "'w1=9x'"),
        ("protonet", "weights", "'q1=9'"),
    ],
)
def test_impossible_options_are_named(name: str, option: str, value: float | str) -> None:
    given = value.strip("'") if isinstance(value, str) else value
    with pytest.raises(ValueError, match=f"got {option} {value} for the {name} rule"):
        made(name, **{option: given})


def test_every_term_of_the_hebbian_rule_is_said_in_words() -> None:
    rule = make_rule("hebbian")
    with torch.no_grad():
        rule.slope[list(TERMS).index("feedback")] = 3.0
    sizes = rule.sizes()
    assert [name for name, *_ in sizes[:3]] == ["feedback", "compete", "decorrelate"]
    assert sizes[0][1:3] == (-3.0, 3.0)
    assert {name for name, *_ in sizes} == TERMS.keys() | BIAS_TERMS.keys()
    both = {name: first for name, first, *_ in make_rule("hebbian", straighten=0.5, elementwise=True).sizes()}
    assert both["straighten where units compete"] == 0.5
    assert both["straighten where units do not"] == pytest.approx(ELEMENTWISE_START["straighten"][0] - 0.37)
    assert all(says for *_, says in sizes)


def test_the_hebbian_rule_prints_as_an_equation() -> None:
    lines = make_rule("hebbian").equation().splitlines()
    assert len(lines) == 1 + 12 + 1 + 5
    assert lines[1] == "  (+1.000 +0.000 z) N[⟨v softmax(β u)⟩ · N]   compete"
    assert lines[13:15] == [
        "Δb = 0.1000 exp(+0.000 z) (1 + t)^-0.300 · (sum of)",
        "  (+2.000 +0.000 z) (⟨s³⟩ - ⟨u³⟩)   straighten",
    ]
