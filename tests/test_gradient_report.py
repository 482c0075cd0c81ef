"""What directions are worth: known answers of toys, and the command end to end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from estimator_toys import Oja, plain_loss, unroll_of
from torch import Tensor

from experiment.gradient_signal import directions, quality, whole_gradients
from inner_loop.unroll import theta_of
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.readouts.objective import Objective
from unsupervised_update_rules.commands import gradient_report as script

PIECE, PIECES = 2, 3


def whole_trajectory() -> TruncatedUnroll:
    """Six inner steps, read out after each second."""
    return unroll_of(Oja(), 0, (4, 3), (2, 4, 6))


def flat(loss: Tensor, rule: Oja) -> Tensor:
    grads = torch.autograd.grad(loss, list(rule.parameters()), retain_graph=True)
    return torch.cat([grad.flatten() for grad in grads]).double()


def test_whole_gradients_go_back_to_the_start_and_those_of_pieces_to_their_own() -> None:
    rule, one = Oja(), whole_trajectory()
    theta, estimators = theta_of(rule), [ESTIMATORS.make(name, {}) for name in ("full_backprop", "truncated_backprop")]
    full, cut = (estimator.configured(Objective()) for estimator in estimators)
    expected, pieces, state = [], [], one.carried
    for place in range(PIECES):
        alone = replace(one, read_points=one.read_points[: place + 1], read_weights=(*[0.0] * place, 1.0))
        expected.append(flat(plain_loss(rule, theta, alone)[0], rule))
        first = PIECE * place
        part = replace(
            one,
            carried={name: value.detach() for name, value in state.items()},
            views={name: view[first : first + PIECE] for name, view in one.views.items()},
            read_points=(PIECE,),
            episodes=one.episodes[place : place + 1],
        )
        loss, state = plain_loss(rule, theta, part)
        pieces.append(flat(loss, rule))
    found = whole_gradients(full, rule, theta, one, PIECE)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)
    noise = torch.Generator()
    told = directions(cut, rule, theta, one, PIECE, noise)
    torch.testing.assert_close(told, torch.stack(pieces), rtol=1e-4, atol=1e-6)
    assert float((told[1:] - found[1:]).norm()) > 0.1 * float(found[1:].norm()), "pieces forget what was before"


def test_quality_takes_noise_off_lengths_and_leaves_out_tasks_that_are_not_finite() -> None:
    draw = torch.Generator().manual_seed(0)
    tasks, numbers, noise = 4000, 3, 5.0
    truth = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64)
    gradients = truth + 0.1 * torch.randn(tasks, numbers, generator=draw, dtype=torch.float64)
    unbiased = gradients + noise * torch.randn(tasks, numbers, generator=draw, dtype=torch.float64)
    found = quality(unbiased, gradients, tasks_per_step=4)
    assert found.norm == pytest.approx(1, abs=0.1)
    assert found.bias < 0.1
    assert found.cosine > 0.95
    assert found.signal_to_noise == pytest.approx(3 / (noise * 3**0.5 / 4**0.5), rel=0.1)
    half = quality(gradients / 2, gradients, 4)
    assert (half.norm, half.bias) == pytest.approx((0.5, 0.5))
    assert half.cosine == pytest.approx(1)
    turned = quality(-gradients, gradients, 4)
    assert (turned.norm, turned.bias) == pytest.approx((1, 2))
    assert turned.cosine == pytest.approx(-1)
    broken = torch.cat([gradients, torch.full((1, numbers), torch.nan, dtype=torch.float64)])
    assert quality(broken, torch.cat([gradients, gradients[:1]]), 4) == quality(gradients, gradients, 4)
    pure = quality(gradients - gradients.mean(0), gradients, 4)
    assert pure.norm == pure.signal_to_noise == 0


@pytest.mark.thorough
def test_the_report_end_to_end(
    tiny_config: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path, *overrides = tiny_config("run", "inner.unroll=[2,2]", "inner.length=[4,4]", "inner.read_every=2")
    out, figure = tmp_path / "report.json", tmp_path / "report.png"
    asked = [["truncated_backprop"], ["evolution_strategies", "deviation=0.02", "piece=4"]]
    words = [word for one in asked for word in ("--estimator", *one)]
    how = ["--tasks", "3", "--outer-steps", "3", "--json", str(out), "--plot", str(figure)]
    assert script.main(["--config", path, *overrides, *words, *how]) == 0
    found = json.loads(out.read_text())
    assert found["meta"]["command"].startswith("python scripts/gradient_report.py --config ")
    estimators = found["estimators"]
    assert list(estimators) == ["full_backprop", *(" ".join(one) for one in asked)]
    whole, cut, search = estimators.values()
    assert (whole["norm"], whole["cosine"], whole["bias"]) == pytest.approx((1, 1, 0))
    assert [len(one["by_place"]) for one in (whole, cut, search)] == [2, 2, 0]
    assert cut["by_place"][0]["bias"] < 1e-4 < cut["by_place"][1]["bias"], "the first piece has nothing before it"
    assert [one["piece"] for one in (whole, cut, search)] == [4, 2, 4]
    for one in (whole, cut, search):
        moves = one["cost"]["moves"]
        assert 0 <= moves["clipped_share"] <= 1
        assert all(0 < moves["displacement"][name] <= moves["path"][name] * 1.001 for name in moves["path"])
        assert max(moves["path"].values()) <= 1.1 * moves["longest"]
    assert figure.read_bytes().startswith(b"\x89PNG")
    told = capsys.readouterr().out
    assert all(word in told for word in ("signal/noise", "path of the longest", "evolution_strategies deviation=0.02"))
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_search_has_no_direction_and_the_config_stays(
    tiny_config: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path, *overrides = tiny_config("run", "inner.unroll=[2,2]", "inner.length=[4,4]", "inner.read_every=2")
    out = tmp_path / "report.json"
    how = ["--estimator", "cma_es", "population=4", "--tasks", "2", "--outer-steps", "3"]
    assert script.main(["--config", path, *overrides, *how, "--json", str(out)]) == 0
    assert "NaN" not in out.read_text()
    assert json.loads(out.read_text())["estimators"]["cma_es population=4"]["norm"] is None
    assert "│ -" in capsys.readouterr().out
    with pytest.raises(ValueError, match="would overwrite what is read"):
        script.main(["--config", path, *overrides, *how, "--json", path])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--estimator", "truncated_backprop", "piece=3"], "in pieces of 3 inner steps, expected a part of 4"),
        (["--estimator", "truncated_backprop", "piece=x"], "got piece=x, expected piece=K"),
        (["--estimator", "truncated"], "truncated"),
        (["--estimator", "evolution_strategies", "deviations=1"], "deviations"),
        (["--length", "1"], "got a trajectory of 1 inner steps in pieces of 2"),
        (["--length", "3"], "got a trajectory of 3 inner steps in pieces of 2, expected whole pieces"),
        (["--estimator", "cma_es", "piece=2"], "got cma_es piece=2, expected no pieces"),
        (["--json", "same.out", "--plot", "same.out"], "same.out"),
        (["--rule", "no_such_rule"], "no_such_rule"),
    ],
)
def test_what_is_wrong_is_one_line(tiny_config: Callable[..., list[str]], words: list[str], said: str) -> None:
    _, path, *overrides = tiny_config("run", "inner.unroll=[2,2]", "inner.length=[4,4]", "inner.read_every=2")
    with pytest.raises((ValueError, OSError), match=said) as caught:
        script.main(["--config", path, *overrides, *words, "--tasks", "2", "--outer-steps", "3"])
    assert "\n" not in str(caught.value)
