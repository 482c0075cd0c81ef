"""The contract that every rule keeps, one test per promise: all lines of ``examples.RULES`` pass all of them."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rule_states import LABELS, assert_same, every_step, made, shaken, step, views
from torch import Tensor
from torch.func import functional_call

from examples import CLUSTERERS, RuleExample
from examples import RULES as EXAMPLES
from inner_loop.networks.activations import NETWORK_ACTIVATIONS
from inner_loop.networks.mlp import MLP
from inner_loop.networks.registry import NETWORKS
from inner_loop.unroll import theta_of
from outer_loop.readouts.normalisation import NORMALISATIONS
from outer_loop.trajectories import Shape, Trajectory
from tasks.dataset import Dataset
from tasks.source import TaskSource
from tasks.task import TaskShape
from tasks.views import VIEWS
from update_rules.contract import SUPPORT, Problem, Rule, State
from update_rules.registry import RULES, make_rule
from update_rules.rule_file import load_rule, read_header, save_rule

PERMUTATIONS = ("units", "inputs", "examples")


def start(rule: Rule, problem: Problem, seed: int = 0) -> State:
    return rule.init_state(problem, torch.Generator().manual_seed(seed))


def batch(problem: Problem, examples: int = 12, seed: int = 1) -> Tensor:
    return torch.rand(examples, problem.inputs, generator=torch.Generator().manual_seed(seed))


def trained(rule: Rule, problem: Problem, steps: int = 3) -> State:
    """The State after ``steps`` inner steps, each on a batch of its own."""
    state = start(rule, problem)
    with torch.no_grad():
        for count, phase in enumerate(every_step(rule, steps)):
            state = rule.step(problem, state, views(phase.views, batch(problem, seed=count)), phase.name)
    return state


def double(state: State) -> State:
    return {name: value.double() for name, value in state.items()}


def test_every_registered_rule_has_a_line() -> None:
    lines = {one.name for one in (*EXAMPLES, *CLUSTERERS)}
    assert lines & set(RULES.names) == set(RULES.names)


def test_a_rule_declares_what_there_is(rule: Rule) -> None:
    assert set(rule.consumes) <= VIEWS.keys()
    assert rule.gives in ("features", "logits")
    assert rule.layers
    assert rule.layers <= {NETWORKS.find(name).layers for name in NETWORKS.names}
    assert rule.normalisations
    assert rule.normalisations <= set(NORMALISATIONS)
    assert rule.equivariant <= set(PERMUTATIONS)
    assert rule.batching in ("vmap", "loop")


def test_a_state_is_a_flat_dict_of_float32_tensors_that_begin_a_graph(rule: Rule, problem: Problem) -> None:
    state = start(rule, problem)
    assert type(state) is dict
    assert state
    for name, value in state.items():
        assert type(name) is str
        assert type(value) is Tensor
        assert (value.dtype, value.device.type, value.grad_fn) == (torch.float32, "cpu", None)


@pytest.mark.parametrize("examples", [12, 20])
def test_a_step_keeps_shapes_and_types_and_changes_every_weight(rule: Rule, problem: Problem, examples: int) -> None:
    before = start(rule, problem)
    after = step(rule, problem, before, batch(problem, examples))
    assert type(after) is dict
    assert {k: (v.shape, v.dtype) for k, v in before.items()} == {k: (v.shape, v.dtype) for k, v in after.items()}
    for name in before:
        assert type(after[name]) is Tensor
        assert after[name].isfinite().all()
        if name.startswith("w"):
            assert not torch.equal(before[name], after[name]), name


@pytest.mark.parametrize("steps", [0, 1, 2, 7, 100])
def test_phases_sum_to_the_steps_and_show_what_the_rule_consumes(rule: Rule, steps: int) -> None:
    phases = rule.phases(steps)
    assert sum(phase.steps for phase in phases) == steps
    assert all(phase.steps >= 0 for phase in phases)
    assert {name for phase in phases for name in phase.views} == set(rule.consumes)


def test_features_have_the_size_of_the_top_layer(rule: Rule, problem: Problem) -> None:
    assert rule.features(problem, trained(rule, problem), batch(problem, 20)).shape == (20, 5)


def test_features_by_the_statistics_of_a_batch_are_those_of_the_batch(rule: Rule, problem: Problem) -> None:
    state, x = double(trained(rule, problem)), batch(problem).double()
    rule = rule.double()
    statistics = rule.statistics(problem, state, x)
    assert {name[:-1] for name in statistics} == {"mean", "var"}
    torch.testing.assert_close(rule.features(problem, state, x, statistics), rule.features(problem, state, x))


def test_features_by_statistics_are_each_examples_own(rule: Rule, problem: Problem) -> None:
    state, x, on = double(trained(rule, problem)), batch(problem).double(), batch(problem, seed=9).double()
    rule = rule.double()
    statistics = rule.statistics(problem, state, on)
    together = rule.features(problem, state, x, statistics)
    for place in range(len(x)):
        torch.testing.assert_close(
            rule.features(problem, state, x[place : place + 1], statistics)[0], together[place], rtol=1e-11, atol=1e-13
        )
    assert not torch.allclose(rule.features(problem, state, x), together)


def test_features_by_a_batch_are_those_by_its_statistics(rule: Rule, problem: Problem) -> None:
    state, x, on = double(trained(rule, problem)), batch(problem).double(), batch(problem, 20, seed=9).double()
    rule = rule.double()
    expected = rule.features(problem, state, x, rule.statistics(problem, state, on))
    both = (rule.features(problem, state, on), expected)
    torch.testing.assert_close(rule.features_by(problem, state, on, x), both, rtol=1e-11, atol=1e-13)


def test_the_same_arguments_give_the_same_bits_and_leave_the_arguments_alone(rule: Rule, problem: Problem) -> None:
    state, x = start(rule, problem), batch(problem)
    copy = {name: value.clone() for name, value in state.items()}
    torch.manual_seed(1)
    first = step(rule, problem, state, x)
    torch.manual_seed(2)
    assert_same(step(rule, problem, state, x), first)
    assert_same(state, copy)


def test_seeds_alone_decide_where_a_task_starts(example: RuleExample, rule: Rule, problem: Problem) -> None:
    torch.manual_seed(1)
    first, x = start(rule, problem), batch(problem)
    torch.manual_seed(2)
    again = made(example)
    assert_same(dict(again.named_parameters()), dict(rule.named_parameters()))
    assert_same(start(again, problem), first)
    # What a rule of one network starts from is θ, which a seed of its own decides.
    other = made(example, seed=1) if rule.one_network else rule
    state = start(other, problem, seed=1)
    assert not torch.equal(other.features(problem, state, x), rule.features(problem, first, x))
    if rule.one_network:
        assert_same(state, first)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_options_for_a_problem_make_a_rule_that_fits_it(example: RuleExample, normalisation: str) -> None:
    kind = RULES.find(example.name)
    problem = Problem.of(example.network, normalisation=normalisation)
    options = kind.options_for(problem, 3)
    assert RULES.checked(example.name, options).keys() == options.keys()
    rule = make_rule(example.name, **(options | example.options))
    assert rule.config.get("seed", 3) == 3
    assert set(rule.config) == set(RULES.options(example.name))
    state, x = start(rule, problem), batch(problem)
    shapes = {name: value.shape for name, value in rule.statistics(problem, state, x).items()}
    observed = rule.observed(problem, state, x)
    averaged = normalisation == "running" and normalisation in rule.normalisations
    assert {name: value.shape for name, value in observed.items()} == (shapes if averaged else {})
    assert observed.keys() <= dict(rule.named_buffers()).keys()
    if averaged:
        assert {name: value.shape for name, value in rule.running().items()} == shapes
    else:
        with pytest.raises((ValueError, NotImplementedError)):
            rule.running()


def test_theta_at_an_outer_step_is_the_rules_own(rule: Rule) -> None:
    own = theta_of(rule)
    for outer_step in (0, 5):
        theta = rule.theta_at(outer_step)
        assert theta.keys() == own.keys()
        assert all(theta[name] is value for name, value in own.items())


@pytest.mark.parametrize("read_points", [[3], [1, 2, 3]])
def test_labels_reach_a_state_only_of_a_rule_that_consumes_them(
    rule: Rule, problem: Problem, read_points: list[int]
) -> None:
    """The whole inner loop of a task, bit for bit, under two labellings, with the views of the trainer."""
    draw = torch.Generator().manual_seed(3)
    x, y = torch.rand(60, 9, generator=draw), torch.arange(60) % 3
    states = []
    for labels in (y, (y + 1) % 3):
        data = Dataset(name="toy", x=x, y=labels, image_shape=None, class_names=("a", "b", "c"), group=None)
        # The same pool for both: what differs between the two is labels alone.
        task = TaskSource((data,), 3, 2, 2, True, unlabelled_shots=2).draw(torch.Generator().manual_seed(4))
        task = replace(task, pool=torch.arange(60), labels=labels)
        shape = Shape(TaskShape(0, 3, 2, 9), problem.network, 12)
        carried = start(rule, problem)
        one = Trajectory(task, shape, carried, 0, 3, torch.Generator().manual_seed(5), torch.Generator())
        drawn = one.unroll(read_points, torch.device("cpu"), rule.consumes)
        assert list(drawn.views) == list(rule.consumes)
        assert all(len(view) == 3 for view in drawn.views.values())
        state = drawn.carried
        for count, phase in enumerate(every_step(rule, 3)):
            seen = {name: drawn.views[name][count] for name in phase.views}
            state = rule.step(drawn.problem, state, seen, phase.name)
        states.append(state)
        if any(VIEWS[name].fixed for name in rule.consumes):
            assert all(episode is drawn.episodes[0] for episode in drawn.episodes)
            for name in set(SUPPORT) & set(rule.consumes):
                assert all(torch.equal(view, getattr(drawn.episodes[0], name)) for view in drawn.views[name])
    blind = all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    assert blind == (not any(VIEWS[name].labels for name in rule.consumes))


def test_rules_that_consume_labels_are_few() -> None:
    consumed = {name: RULES.find(name).consumes for name in RULES.names}
    assert [name for name, found in consumed.items() if any(VIEWS[view].labels for view in found)] == [
        "maml",
        "sca",
        "semi_supervised_maml",
    ]


def permuted_too(rule: Rule, problem: Problem, what: str) -> list[tuple[Tensor, Tensor]]:
    """State and features after a step on permuted data from a permuted State, and those of the plain ones permuted."""
    rule, state, x = rule.double(), double(start(rule, problem)), batch(problem).double()
    draw, sizes, y = torch.Generator().manual_seed(5), problem.network.sizes, LABELS[: len(x)]
    order = [torch.arange(n) for n in sizes]
    examples = torch.arange(len(x))
    if what == "examples":
        examples = torch.randperm(len(x), generator=draw)
    for layer in {"inputs": [0], "units": range(1, len(sizes)), "examples": []}[what]:
        order[layer] = torch.randperm(sizes[layer], generator=draw)

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

    with torch.no_grad():
        after, x_moved = step(rule, problem, state, x), x[examples][:, order[0]]
        found = step(rule, problem, permuted(state), x_moved, y[examples])
        features = rule.features(problem, found, x_moved)
        expected = rule.features(problem, after, x)[examples][:, order[-1]]
    return [(features, expected), *((found[name], value) for name, value in permuted(after).items())]


CLAIMS = [(one, what) for one in EXAMPLES for what in PERMUTATIONS if what in RULES.find(one.name).equivariant]
OURS = [(one, what) for one in EXAMPLES if one.name in RULES.names for what in PERMUTATIONS]


@pytest.mark.parametrize(("example", "what"), CLAIMS, ids=lambda one: getattr(one, "name", one))
def test_permutations_that_a_rule_claims_pass_through_a_step_and_features(example: RuleExample, what: str) -> None:
    for found, expected in permuted_too(made(example), Problem.of(example.network), what):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("example", "what"),
    [pair for pair in OURS if pair not in CLAIMS],
    ids=lambda one: getattr(one, "name", one),
)
def test_what_a_registered_rule_does_not_claim_does_not_pass_through_it(example: RuleExample, what: str) -> None:
    moved = permuted_too(made(example), Problem.of(example.network), what)
    assert max(float((found - expected).abs().max()) for found, expected in moved) > 1e-6


def test_gradients_in_theta_are_finite_and_reach_every_parameter(rule: Rule, problem: Problem) -> None:
    state = start(rule, problem)
    for count, phase in enumerate(every_step(rule, 2)):
        state = rule.step(problem, state, views(phase.views, batch(problem, seed=count)), phase.name)
    features = rule.features(problem, state, batch(problem, 20, seed=9))
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(6))
    loss = (features * weights).sum()
    gradients = torch.autograd.grad(loss, list(rule.parameters()), allow_unused=True)
    for (name, _), gradient in zip(rule.named_parameters(), gradients, strict=True):
        assert gradient is not None, name
        assert gradient.isfinite().all(), name


def test_gradient_equals_finite_differences(rule: Rule, problem: Problem) -> None:
    state, x = double(trained(rule, problem)), batch(problem).double()
    phase = next(every_step(rule, 1))
    draw = torch.Generator().manual_seed(7)
    # Away from the start, where offsets of 0 put some relu exactly on its kink.
    theta = {
        name: p.detach().double() + 0.1 * torch.randn(p.shape, generator=draw) for name, p in rule.named_parameters()
    }
    direction = {name: torch.randn(p.shape, generator=draw, dtype=torch.float64) for name, p in theta.items()}
    weights = torch.randn(len(x), 5, generator=draw, dtype=torch.float64)

    def loss(scale: Tensor) -> Tensor:
        moved = {name: p + scale * direction[name] for name, p in theta.items()}
        after = functional_call(rule, moved, ("step", problem, state, views(phase.views, x), phase.name))
        return (functional_call(rule, moved, ("features", problem, after, x)) * weights).sum()

    scale = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(scale), scale)
    h = 1e-7
    measured = (loss(torch.tensor(h)) - loss(torch.tensor(-h))) / (2 * h)
    assert math.isclose(float(slope), float(measured), rel_tol=2e-4, abs_tol=1e-5)


def test_a_saved_rule_does_the_same_and_its_file_names_it(
    example: RuleExample, rule: Rule, problem: Problem, tmp_path: Path
) -> None:
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.mul_(1.01)
    path = tmp_path / "rule.safetensors"
    save_rule(path, rule, {"sources": ["toy"], "outer_steps": 1})
    assert read_header(path).rule == example.name
    assert_same(trained(load_rule(path, trust=[type(rule).__module__]), problem), trained(rule, problem))


@pytest.mark.parametrize("activation", sorted(NETWORK_ACTIVATIONS))
def test_every_activation_gives_finite_states(rule: Rule, problem: Problem, activation: str) -> None:
    state = trained(rule, Problem.of(MLP(problem.network.sizes, activation)))
    assert all(value.isfinite().all() for value in state.values())


@pytest.mark.parametrize("sizes", [(9, 5), (9, 3, 5), (9, 4, 8, 2, 6, 5)])
def test_any_depth_and_width_gives_finite_states(example: RuleExample, sizes: tuple[int, ...]) -> None:
    problem = Problem.of(MLP(sizes))
    state = trained(made(example, problem), problem)
    assert all(value.isfinite().all() for value in state.values())


def test_a_constant_batch_stays_finite(rule: Rule, problem: Problem) -> None:
    after = step(rule, problem, start(rule, problem), torch.zeros(12, 9))
    assert all(value.isfinite().all() for value in after.values())


def test_described_scalars_are_named_finite_and_follow_theta(rule: Rule) -> None:
    described = rule.describe()
    assert all(type(name) is str for name in described)
    assert all(type(value) is float and math.isfinite(value) for value in described.values())
    moved = shaken(rule).describe()
    assert moved.keys() == described.keys()
    assert all(moved[name] != value for name, value in described.items())


def test_each_part_makes_a_difference_and_leaves_the_rule_as_it_is(rule: Rule, problem: Problem) -> None:
    rule = shaken(rule)
    before = {name: value.clone() for name, value in rule.state_dict().items()}
    whole, parts = trained(rule, problem), list(rule.parts())
    assert len({name for name, _ in parts}) == len(parts)
    for part, less in parts:
        assert type(less) is type(rule)
        assert less.config == rule.config
        changed = trained(less, problem)
        assert max(float((changed[name] - value).abs().max()) for name, value in whole.items()) > 1e-5, part
    assert_same(rule.state_dict(), before)
    assert_same(trained(rule, problem), whole)


def test_all_terms_of_the_local_rules_are_parts() -> None:
    parts = {one.name: len(list(made(one).parts())) for one in EXAMPLES if one.name in RULES.names}
    assert {name: count for name, count in parts.items() if count} == {
        "neuron_local": 11 + 4,
        "hebbian": 12 + 5 + 1 + 2,
    }


def test_pictures_have_one_weight_for_each_input(rule: Rule, problem: Problem) -> None:
    state = trained(rule, problem)
    pictures = rule.pictures(problem, state)
    assert pictures is not None
    assert pictures.shape == (7, 9)
    x = batch(problem)
    torch.testing.assert_close(rule.statistics(problem, state, x)["mean1"], x.mean(0) @ pictures.T)
