import pytest
import torch

from inner_loop.networks.mlp import MLP
from inner_loop.state import detach_state, finite_tasks, stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from update_rules.contract import UNLABELLED, Rule, State
from update_rules.gradient.learned_start import LearnedStart, layout
from update_rules.local.hebbian import Hebbian
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import RULES, make_rule

NETWORK = MLP((6, 5, 4))
TASKS, STEPS = 3, 4
SMALL: dict[str, dict[str, int]] = {
    "metz": {"outputs": 4, "hidden": 4, "top_hidden": 4, "delta_channels": 3, "readout_channels": 2},
    "neuron_local": {"hidden": 4},
    "hebbian": {},
}


@pytest.fixture
def rule() -> NeuronLocal:
    return NeuronLocal(hidden=5, error_channels=2, readout_channels=1)


def start(rule: Rule) -> State:
    draw = torch.Generator().manual_seed(0)
    return stack_states([rule.init_state(NETWORK, draw) for _ in range(TASKS)])


def stream() -> torch.Tensor:
    return torch.rand(STEPS, TASKS, 8, 6, generator=torch.Generator().manual_seed(1))


def gradient(rule: NeuronLocal, recompute: bool) -> list[torch.Tensor]:
    theta = dict(rule.named_parameters())
    state = {name: value.requires_grad_() for name, value in start(rule).items()}
    reads = unroll(rule, theta, NETWORK, state, {"unlabelled": stream()}, read_points=[2, STEPS], recompute=recompute)
    x = torch.rand(7, 6, generator=torch.Generator().manual_seed(2))
    loss = sum(
        (rule.features(NETWORK, one, x) ** 2).sum() for read in reads for one in ({k: v[0] for k, v in read.items()},)
    )
    return list(torch.autograd.grad(loss, [*theta.values(), *state.values()]))


@pytest.mark.parametrize("long", [25, 4])
def test_recomputation_gives_the_same_gradient_to_the_bit(rule: NeuronLocal, long: int, monkeypatch) -> None:
    monkeypatch.setattr("inner_loop.unroll.LONG", long)  # at 4, in two segments
    for kept, recomputed in zip(gradient(rule, False), gradient(rule, True), strict=True):
        assert torch.equal(kept, recomputed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # in torch itself
def test_a_compiled_step_gives_the_same_gradient() -> None:
    rule = Hebbian()
    for network in (NETWORK, MLP((6, 4))):
        state = stack_states([rule.init_state(network, torch.Generator().manual_seed(0)) for _ in range(TASKS)])
        draw = torch.Generator().manual_seed(2)
        along = {name: torch.randn(value.shape, generator=draw) for name, value in state.items()}

        def found(compiled: bool, network: MLP = network, state: State = state, along: State = along) -> State:
            theta, views = dict(rule.named_parameters()), {"unlabelled": stream()}
            (last,) = unroll(rule, theta, network, state, views, read_points=[STEPS], compiled=compiled)
            loss = sum((value * along[name]).sum() for name, value in last.items())
            gradients = torch.autograd.grad(loss, list(theta.values()), materialize_grads=True)
            return dict(zip(theta, gradients, strict=True))

        torch.testing.assert_close(found(True), found(False), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(RULES.names))
@pytest.mark.parametrize("recompute", [True, False])
def test_the_unroll_never_waits_for_the_device(name: str, recompute: bool) -> None:
    # On the meta device there are no values: whatever reads one, moves one or mixes devices is an error.
    learned_start = issubclass(RULES.find(name), LearnedStart)
    rule = make_rule(name, **({"weights": layout(NETWORK.shapes)} if learned_start else SMALL[name]))
    state = {key: value.to("meta").requires_grad_() for key, value in start(rule).items()}
    labels = torch.arange(8).remainder(4).expand(STEPS, TASKS, 8)
    views = {UNLABELLED: stream(), "support_x": stream(), "support_y": labels}
    views = {key: value.to("meta") for key, value in views.items()}
    theta = theta_of(rule.to("meta"))
    learned = list(dict(rule.named_parameters()).values())
    reads = unroll(rule, theta, NETWORK, state, views, read_points=[2, STEPS], recompute=recompute)
    loss = sum(value.square().sum() for read in reads for value in read.values())
    gradients = torch.autograd.grad(loss, [*learned, *state.values()], allow_unused=True, materialize_grads=True)
    assert {gradient.device.type for gradient in gradients} == {"meta"}
    with torch.no_grad():
        unroll(rule, theta, NETWORK, state, views, read_points=[STEPS])


def test_the_meta_device_refuses_what_waits() -> None:
    value = torch.zeros(3, device="meta")
    for wait in (lambda: bool(value.sum()), lambda: value[0].item(), value.cpu, lambda: value + torch.zeros(3)):
        with pytest.raises((RuntimeError, NotImplementedError)):
            wait()


def test_read_points_are_the_states_on_the_way(rule: NeuronLocal) -> None:
    theta, views = dict(rule.named_parameters()), {"unlabelled": stream()}
    with torch.no_grad():
        reads = unroll(rule, theta, NETWORK, start(rule), views, read_points=range(STEPS + 1))
        state = start(rule)
        for step in range(STEPS + 1):
            for name, value in state.items():
                torch.testing.assert_close(reads[step][name], value)
            if step < STEPS:
                state = unroll(rule, theta, NETWORK, state, {"unlabelled": stream()[step:]}, read_points=[1])[0]


def test_a_rule_is_handed_the_views_it_consumes_and_nothing_else(rule: NeuronLocal, monkeypatch) -> None:
    seen: list[set[str]] = []
    step = NeuronLocal.batched_step

    def watched(self, network, state, views):
        seen.append(set(views))
        return step(self, network, state, views)

    monkeypatch.setattr(NeuronLocal, "batched_step", watched)
    views = {"unlabelled": stream(), "support": stream(), "labels": torch.zeros(STEPS, TASKS)}
    unroll(rule, dict(rule.named_parameters()), NETWORK, start(rule), views, read_points=[2], recompute=False)
    assert seen == [{"unlabelled"}] * 2


@pytest.mark.parametrize("points", [[3, 2], [2, 2], [-1, 2], [STEPS + 1]])
def test_impossible_read_points_are_refused(rule: NeuronLocal, points: list[int]) -> None:
    with pytest.raises(ValueError, match="read points"):
        unroll(rule, {}, NETWORK, start(rule), {"unlabelled": stream()}, read_points=points)


def test_a_missing_view_is_named(rule: NeuronLocal) -> None:
    with pytest.raises(ValueError, match="unlabelled"):
        unroll(rule, {}, NETWORK, start(rule), {"support": stream()}, read_points=[1])


def test_states_stack_unstack_and_detach(rule: NeuronLocal) -> None:
    stacked = {name: value.requires_grad_() * 1 for name, value in start(rule).items()}
    again = stack_states(unstack_state(detach_state(stacked)))
    for name, value in stacked.items():
        assert torch.equal(value, again[name])
        assert not again[name].requires_grad
    stacked["w1"].data[1, 0, 0] = torch.nan
    assert finite_tasks(stacked).tolist() == [True, False, True]
