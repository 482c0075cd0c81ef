import pytest
import torch

from inner_loop.mlp import MLP
from inner_loop.states import detach_state, finite_tasks, stack_states, unstack_state
from inner_loop.unroll import unroll
from update_rules.contract import State
from update_rules.neuron_local import NeuronLocal

NETWORK = MLP((6, 5, 4))
TASKS, STEPS = 3, 4


@pytest.fixture
def rule() -> NeuronLocal:
    return NeuronLocal(hidden=5, error_channels=2, readout_channels=1)


def start(rule: NeuronLocal) -> State:
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
