import math

import pytest
import torch

from inner_loop.networks.mlp import MLP
from outer_loop.estimators.truncated_backprop import Piece, TruncatedBackprop
from outer_loop.readouts.metz_objective import metz_objective
from tasks.task import Episode
from update_rules.local.neuron_local import NeuronLocal

WAYS, STEPS = 3, 4


def rule() -> NeuronLocal:
    return NeuronLocal(hidden=5, error_channels=2, readout_channels=1)


def theta(of: NeuronLocal) -> dict[str, torch.Tensor]:
    return dict(of.named_parameters())


def piece(
    of: NeuronLocal, seed: int, sizes: tuple[int, ...] = (6, 5, 4), read_points: tuple[int, ...] = (2, 4)
) -> Piece:
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(WAYS).repeat(4)

    def episode() -> Episode:
        x = torch.rand(2, len(y), sizes[0], generator=draw)
        return Episode(x[0], y, x[1], y)

    network = MLP(sizes)
    return Piece(
        network=network,
        state=of.init_state(network, draw),
        views={"unlabelled": torch.rand(read_points[-1], 8, sizes[0], generator=draw)},
        read_points=read_points,
        episodes=tuple(episode() for _ in read_points),
        ways=WAYS,
    )


def plain_gradient(of: NeuronLocal, one: Piece) -> tuple[float, list[torch.Tensor]]:
    """The same quantity as a user would write it: a loop over steps, no vmap, no recomputation."""
    state, losses = one.state, []
    for step in range(1, one.read_points[-1] + 1):
        state = of.step(one.network, state, {"unlabelled": one.views["unlabelled"][step - 1]})
        if step in one.read_points:
            e = one.episodes[one.read_points.index(step)]
            f = of.features(one.network, state, torch.cat([e.support_x, e.query_x]))
            s = len(e.support_y)
            losses.append(metz_objective(f[:s], e.support_y, f[s:], e.query_y, WAYS, 0.1).loss)
    loss = torch.stack(losses).mean()
    return float(loss.detach()), list(torch.autograd.grad(loss, list(of.parameters())))


def test_the_update_is_the_mean_of_the_plain_gradients() -> None:
    of = rule()
    pieces = [piece(of, 0), piece(of, 1), piece(of, 2, sizes=(7, 4)), piece(of, 3)]
    estimate = TruncatedBackprop().estimate(of, theta(of), pieces)
    plain = [plain_gradient(of, one) for one in pieces]
    assert estimate.dropped == []
    assert math.isclose(estimate.meta_loss, sum(loss for loss, _ in plain) / 4, rel_tol=1e-5)
    for k, (name, _) in enumerate(of.named_parameters()):
        expected = torch.stack([gradients[k] for _, gradients in plain]).mean(0)
        torch.testing.assert_close(estimate.update[name], expected, rtol=1e-3, atol=1e-6)
    assert [None if s is None else s["w1"].shape for s in estimate.states] == [(6, 5), (6, 5), (7, 4), (6, 5)]


def test_it_is_pure() -> None:
    of = rule()
    pieces = [piece(of, 0), piece(of, 1)]
    first, second = (TruncatedBackprop().estimate(of, theta(of), pieces) for _ in range(2))
    for name in first.update:
        assert torch.equal(first.update[name], second.update[name])


@pytest.mark.parametrize("poison", ["state", "batch", "query"])
def test_a_task_with_non_finite_numbers_is_left_out_as_if_it_had_not_been_there(poison: str) -> None:
    of = rule()
    pieces = [piece(of, 0), piece(of, 1), piece(of, 2)]
    if poison == "state":
        pieces[1].state["w1"][0, 0] = torch.inf
    elif poison == "batch":
        pieces[1].views["unlabelled"][3, 0, 0] = torch.nan
    else:
        pieces[1].episodes[0].query_x[0, 0] = torch.nan
    estimate = TruncatedBackprop().estimate(of, theta(of), pieces)
    without = TruncatedBackprop().estimate(of, theta(of), [pieces[0], pieces[2]])
    assert estimate.dropped == [1]
    assert estimate.states[1] is None
    assert math.isclose(estimate.meta_loss, without.meta_loss, rel_tol=1e-6)
    for name in without.update:
        assert torch.equal(estimate.update[name], without.update[name])


def test_a_task_whose_gradient_alone_is_not_finite_is_left_out() -> None:
    class Cliff(NeuronLocal):
        """Finite everywhere, with an infinite slope in θ for examples of zeros alone."""

        def step(self, network, state, views):
            after = super().step(network, state, views)
            edge = torch.sqrt(views["unlabelled"].sum() * self.log_rate * self.log_rate)
            return after | {"b1": after["b1"] + edge}

    of = Cliff(hidden=5, error_channels=2, readout_channels=1)
    pieces = [piece(of, 0), piece(of, 1), piece(of, 2)]
    pieces[2].views["unlabelled"].zero_()
    estimate = TruncatedBackprop().estimate(of, theta(of), pieces)
    without = TruncatedBackprop().estimate(of, theta(of), pieces[:2])
    assert estimate.dropped == [2]
    for name in without.update:
        torch.testing.assert_close(estimate.update[name], without.update[name], rtol=1e-3, atol=1e-6)


def test_nothing_is_kept_when_every_task_is_lost() -> None:
    of = rule()
    lost = piece(of, 0)
    lost.state["w1"].fill_(torch.nan)
    estimate = TruncatedBackprop().estimate(of, theta(of), [lost])
    assert estimate.dropped == [0]
    assert math.isnan(estimate.meta_loss)
    assert all(not value.any() for value in estimate.update.values())
