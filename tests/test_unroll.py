"""Unrolling: gradients, read points, phases, what waits for the device, and States of several tasks."""

import pytest
import torch
from torch import nn

from examples import RULES as EXAMPLES
from examples import RuleExample
from inner_loop.networks.mlp import MLP
from inner_loop.state import detach_state, finite_tasks, stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from update_rules.contract import SUPPORT, UNLABELLED, Phase, Problem, Rule, State, StepViews
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import RULES, make_rule

PROBLEM = Problem.of(MLP((6, 5, 4)))
TASKS, STEPS = 3, 4


@pytest.fixture
def rule() -> NeuronLocal:
    return NeuronLocal(hidden=5, error_channels=2, readout_channels=1)


def start(rule: Rule, problem: Problem = PROBLEM) -> State:
    draw = torch.Generator().manual_seed(0)
    return stack_states([rule.init_state(problem, draw) for _ in range(TASKS)])


def stream(inputs: int = 6) -> torch.Tensor:
    return torch.rand(STEPS, TASKS, 8, inputs, generator=torch.Generator().manual_seed(1))


def gradient(rule: NeuronLocal, recompute: bool) -> list[torch.Tensor]:
    theta = dict(rule.named_parameters())
    state = {name: value.requires_grad_() for name, value in start(rule).items()}
    reads = unroll(rule, theta, PROBLEM, state, {"unlabelled": stream()}, read_points=[2, STEPS], recompute=recompute)
    x = torch.rand(7, 6, generator=torch.Generator().manual_seed(2))
    loss = sum(
        (rule.features(PROBLEM, one, x) ** 2).sum() for read in reads for one in ({k: v[0] for k, v in read.items()},)
    )
    return list(torch.autograd.grad(loss, [*theta.values(), *state.values()]))


@pytest.mark.parametrize("long", [25, 4])
def test_recomputation_gives_the_same_gradient_to_the_bit(rule: NeuronLocal, long: int, monkeypatch) -> None:
    monkeypatch.setattr("inner_loop.unroll.LONG", long)  # at 4, in two segments
    for kept, recomputed in zip(gradient(rule, False), gradient(rule, True), strict=True):
        assert torch.equal(kept, recomputed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # in torch itself
@pytest.mark.parametrize(
    ("name", "per_task", "network"),  # compiled as a batch, and by vmap of a step
    [("hebbian", False, PROBLEM.network), ("hebbian", True, MLP((6, 4))), ("oja", True, MLP((6, 4)))],
)
def test_a_compiled_step_gives_the_same_gradient(name: str, per_task: bool, network: MLP) -> None:
    rule, problem = make_rule(name), Problem.of(network)
    state = start(rule, problem)
    draw = torch.Generator().manual_seed(2)
    along = {name: torch.randn(value.shape, generator=draw) for name, value in state.items()}

    def found(compiled: bool) -> State:
        theta, views = dict(rule.named_parameters()), {"unlabelled": stream()}
        if per_task:
            theta = {name: value.expand(TASKS, *value.shape).clone() for name, value in theta.items()}
        how = {"read_points": [STEPS], "compiled": compiled, "per_task": per_task}
        (last,) = unroll(rule, theta, problem, state, views, **how)
        loss = sum((value * along[name]).sum() for name, value in last.items())
        gradients = torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
        return dict(zip(theta, gradients, strict=True))

    torch.testing.assert_close(found(True), found(False), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
@pytest.mark.parametrize("recompute", [True, False])
def test_the_unroll_never_waits_for_the_device(example: RuleExample, recompute: bool) -> None:
    # On the meta device there are no values: whatever reads one, moves one or mixes devices is an error.
    problem = Problem.of(example.network)
    rule = make_rule(example.name, **(RULES.find(example.name).options_for(problem, 0) | example.options))
    state = {key: value.to("meta").requires_grad_() for key, value in start(rule, problem).items()}
    labels = torch.arange(8).remainder(4).expand(STEPS, TASKS, 8)
    x = stream(problem.inputs)
    views = {UNLABELLED: x, "support_x": x, "support_y": labels, "query_x": x, "unlabelled_set": x}
    views = {key: value.to("meta") for key, value in views.items()}
    theta = theta_of(rule.to("meta"))
    learned = list(dict(rule.named_parameters()).values())
    reads = unroll(rule, theta, problem, state, views, read_points=[2, STEPS], recompute=recompute)
    loss = sum(value.square().sum() for read in reads for value in read.values())
    gradients = torch.autograd.grad(loss, [*learned, *state.values()], allow_unused=True, materialize_grads=True)
    assert {gradient.device.type for gradient in gradients} == {"meta"}
    with torch.no_grad():
        unroll(rule, theta, problem, state, views, read_points=[STEPS])


def test_the_meta_device_refuses_what_waits() -> None:
    value = torch.zeros(3, device="meta")
    for wait in (lambda: bool(value.sum()), lambda: value[0].item(), value.cpu, lambda: value + torch.zeros(3)):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()


def test_read_points_are_the_states_on_the_way(rule: NeuronLocal) -> None:
    theta, views = dict(rule.named_parameters()), {"unlabelled": stream()}
    with torch.no_grad():
        reads = unroll(rule, theta, PROBLEM, start(rule), views, read_points=range(STEPS + 1))
        state = start(rule)
        for step in range(STEPS + 1):
            for name, value in state.items():
                torch.testing.assert_close(reads[step][name], value)
            if step < STEPS:
                state = unroll(rule, theta, PROBLEM, state, {"unlabelled": stream()[step:]}, read_points=[1])[0]


def test_a_rule_is_handed_the_views_it_consumes_and_nothing_else(rule: NeuronLocal, monkeypatch) -> None:
    seen: list[set[str]] = []
    step = NeuronLocal.batched_step

    def watched(self, problem, state, views, phase):
        seen.append(set(views))
        return step(self, problem, state, views, phase)

    monkeypatch.setattr(NeuronLocal, "batched_step", watched)
    views = {"unlabelled": stream(), "support": stream(), "labels": torch.zeros(STEPS, TASKS)}
    unroll(rule, dict(rule.named_parameters()), PROBLEM, start(rule), views, read_points=[2], recompute=False)
    assert seen == [{"unlabelled"}] * 2


class TwoPhases(Rule):
    """A toy that counts examples without labels first, and then support examples and their labels."""

    name = "two_phases"
    consumes = (UNLABELLED, *SUPPORT)

    def __init__(self) -> None:
        super().__init__()
        self.config = {}
        self.rate = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[str, tuple[str, ...], float]] = []

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        return {"sum": torch.zeros(())}

    def phases(self, steps: int) -> list[Phase]:
        alone = steps // 2
        return [Phase("alone", (UNLABELLED,), alone), Phase("taught", SUPPORT, steps - alone)]

    def batched_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        (x, *_) = views.values()
        self.seen.append((phase, tuple(views), float(x.detach()[0, 0, 0])))
        return {"sum": state["sum"] + self.rate * x.sum((1, 2))}


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("long", [25, 2])
def test_each_phase_sees_its_views_at_its_steps(recompute: bool, long: int, monkeypatch) -> None:
    monkeypatch.setattr("inner_loop.unroll.LONG", long)
    rule, x = TwoPhases(), stream()
    labels = torch.zeros(STEPS, TASKS, 8, dtype=torch.int64)
    views = {UNLABELLED: x, "support_x": -x, "support_y": labels, "query_x": x}
    (last,) = unroll(rule, theta_of(rule), PROBLEM, start(rule), views, read_points=[STEPS], recompute=recompute)
    expected = [("alone", (UNLABELLED,), float(x[step, 0, 0, 0])) for step in (0, 1)]
    expected += [("taught", SUPPORT, -float(x[step, 0, 0, 0])) for step in (2, 3)]
    assert list(dict.fromkeys(rule.seen)) == expected
    sums = (x[:2].sum((0, 2, 3)) - x[2:].sum((0, 2, 3))).detach()
    torch.testing.assert_close(last["sum"], sums)
    (slope,) = torch.autograd.grad(last["sum"].sum(), [rule.rate])
    torch.testing.assert_close(slope, sums.sum())
    assert set(rule.seen) == set(expected)


@pytest.mark.parametrize("points", [[3, 2], [2, 2], [-1, 2], [STEPS + 1]])
def test_impossible_read_points_are_refused(rule: NeuronLocal, points: list[int]) -> None:
    with pytest.raises(ValueError, match="read points"):
        unroll(rule, {}, PROBLEM, start(rule), {"unlabelled": stream()}, read_points=points)


def test_a_missing_view_is_named(rule: NeuronLocal) -> None:
    with pytest.raises(ValueError, match="unlabelled"):
        unroll(rule, {}, PROBLEM, start(rule), {"support": stream()}, read_points=[1])


def test_states_stack_unstack_and_detach(rule: NeuronLocal) -> None:
    stacked = {name: value.requires_grad_() * 1 for name, value in start(rule).items()}
    again = stack_states(unstack_state(detach_state(stacked)))
    for name, value in stacked.items():
        assert torch.equal(value, again[name])
        assert not again[name].requires_grad
    stacked["w1"].data[1, 0, 0] = torch.nan
    assert finite_tasks(stacked).tolist() == [True, False, True]
