"""Hand-written local rules do what their papers say, on examples whose answer is known."""

import torch
from torch import Tensor

from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of, unroll
from update_rules.contract import Problem, State
from update_rules.registry import make_rule

DEVIATIONS = torch.tensor([3.0, 2.0, 1.2, 0.5, 0.3])
BATCH = 256


def gaussian(steps: int) -> tuple[Tensor, Tensor]:
    """Batches of normal examples, and their principal axes as columns, the longest first."""
    draw = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(5, 5, generator=draw)).Q
    return torch.randn(steps, 1, BATCH, 5, generator=draw) * DEVIATIONS @ axes.T + 1.0, axes


def blobs(steps: int, ways: int = 4) -> tuple[Tensor, Tensor]:
    """Batches around orthogonal centres on the sphere, and the centres as columns."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.linalg.qr(torch.randn(6, 6, generator=draw)).Q[:, :ways]
    which = torch.randint(ways, (steps, 1, BATCH), generator=draw)
    return centres.T[which] + 0.05 * torch.randn(steps, 1, BATCH, 6, generator=draw), centres


def learned(name: str, views: Tensor, units: int, **options: float | bool) -> State:
    rule, problem = make_rule(name, **options), Problem.of(MLP((views.shape[-1], units)))
    start = stack_states([rule.init_state(problem, torch.Generator().manual_seed(1))])
    with torch.no_grad():
        (state,) = unroll(rule, theta_of(rule), problem, start, {"unlabelled": views}, read_points=[len(views)])
    return {key: value[0] for key, value in state.items()}


def test_oja_spans_the_principal_components() -> None:
    views, axes = gaussian(400)
    w = learned("oja", views, 2, rate=0.3)["w1"]
    torch.testing.assert_close(w @ w.T, axes[:, :2] @ axes[:, :2].T, rtol=0, atol=0.05)


def test_sanger_finds_them_in_their_order() -> None:
    views, axes = gaussian(800)
    w = learned("sanger", views, 3, rate=0.3)["w1"]
    torch.testing.assert_close((axes[:, :3].T @ w).abs(), torch.eye(3), rtol=0, atol=0.1)


def test_units_that_share_examples_find_clusters() -> None:
    """Every centre has a unit that answers to it alone, as long as it."""
    views, centres = blobs(400)
    answers = centres.T @ learned("soft_hebb", views, 12, rate=0.3, temperature=0.1)["w1"]
    assert (answers.amax(1) > 0.9).all()
    best = answers[:, answers.argmax(1)]
    torch.testing.assert_close(best, torch.eye(4), rtol=0, atol=0.15)


def test_the_strongest_unit_points_to_the_middle_of_what_it_wins() -> None:
    views, _ = blobs(400)
    w = learned("krotov_hopfield", views, 12, rate=0.02, unlearning=0.0)["w1"]
    x = views[:, 0].reshape(-1, 6)
    won = (x @ w).argmax(1)
    units = [unit for unit in range(12) if (won == unit).any()]
    assert len(units) > 1
    for unit in units:
        middle = x[won == unit].mean(0)
        torch.testing.assert_close(w[:, unit], middle / middle.norm(), rtol=0, atol=0.1)


def test_a_cold_softmax_lets_the_winner_alone_learn() -> None:
    views, _ = blobs(1)
    cold = learned("soft_hebb", views, 5, temperature=1e-4)["w1"]
    winner = learned("krotov_hopfield", views, 5, unlearning=0.0)["w1"]
    start = learned("soft_hebb", views[:0].new_zeros(1, 1, 2, 6), 5)["w1"]
    moved, expected = cold - start, winner - start
    torch.testing.assert_close(moved / moved.abs().max(), expected / expected.abs().max(), rtol=1e-3, atol=1e-3)


def test_the_runner_up_unlearns_and_with_anti_all_but_the_winner() -> None:
    views, _ = blobs(1)
    start = learned("soft_hebb", views.new_zeros(1, 1, 2, 6), 5)["w1"]
    one = views[:, :, :1].expand(-1, -1, 4, -1)
    x = one[0, 0, 0] / one[0, 0, 0].norm()
    order = (x @ start).argsort(descending=True)

    def gained(name: str, **options: float | bool) -> Tensor:
        return (x @ (learned(name, one, 5, **options)["w1"] - start))[order]

    krotov = gained("krotov_hopfield", unlearning=0.4)
    assert krotov[0] > 0 > krotov[1]
    torch.testing.assert_close(krotov[2:], torch.zeros(3), rtol=0, atol=1e-6)
    anti = gained("soft_hebb", anti=True, temperature=1.0)
    assert anti[0] > 0
    assert (anti[1:] < 0).all()
