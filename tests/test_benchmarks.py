"""The benchmark's implementations compute the same, and its script prints what it promises."""

import json

import pytest
import torch

from benchmarks.command import main
from benchmarks.gradient_error import gradient_error
from benchmarks.measure import implementations
from benchmarks.naive_metz import step
from benchmarks.workloads import Workload, in_float64, naive, ours, prepare
from inner_loop.networks.mlp import MLP
from update_rules.contract import Problem
from update_rules.metz.metz import Metz

SMALL = {"outputs": 4, "hidden": 4, "top_hidden": 4, "delta_channels": 3, "readout_channels": 2}


@pytest.mark.parametrize("identical_updates", [True, False])
def test_the_naive_metz_step_is_the_rules_own(identical_updates: bool) -> None:
    rule = Metz(**SMALL, identical_updates=identical_updates).double()
    problem, generator = Problem.of(MLP((9, 6, 4))), torch.Generator().manual_seed(0)
    state = {name: value.double() for name, value in rule.init_state(problem, generator).items()}
    x = torch.rand(7, 9, generator=generator, dtype=torch.float64)
    found = step(rule, dict(rule.named_parameters()), problem.network, state, x)
    for name, value in rule.step(problem, state, {"unlabelled": x}, "train").items():
        torch.testing.assert_close(found[name], value, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize(("rule", "options"), [("metz", SMALL), ("neuron_local", {"hidden": 4})])
def test_ours_is_the_naive_loop(rule: str, options: dict[str, int], apply: bool) -> None:
    setting = prepare(Workload(rule, (9, 6, 4), 8, 2, 2, options, apply))
    largest = max(float(value.norm()) for value in naive(setting))
    for fast, slow in zip(ours(setting, recompute=True), naive(setting), strict=True):
        assert float((fast - slow).norm()) <= 2e-2 * float(slow.norm()) + 1e-4 * largest


@pytest.mark.thorough
def test_the_script_prints_a_line_for_each_implementation(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["A8", "--json", "--repeats", "1", "--error"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["implementation"] for line in lines] == list(implementations("A8", "cpu"))
    for line in lines:
        assert line["ratio_to_floor"] == pytest.approx(line["median_s"] / line["floor_s"])
        assert line["threads"] == 1
        assert 0 < line["gradient_error"] < 5e-2
        assert line["one_minus_cosine"] < 1e-3


def test_the_error_of_a_gradient_is_its_distance_from_float64() -> None:
    setting = prepare(Workload("hebbian", (9, 6, 4), 8, 2, 2))
    exact = ours(in_float64(setting), recompute=False)
    assert {value.dtype for value in exact} == {torch.float64}
    assert gradient_error(setting, exact) == {"gradient_error": 0.0, "one_minus_cosine": pytest.approx(0, abs=1e-12)}
    assert gradient_error(setting, [2 * value for value in exact])["gradient_error"] == pytest.approx(1)
    applied = prepare(Workload("hebbian", (9, 6, 4), 8, 2, 2, apply=True))
    assert gradient_error(applied, ours(applied, recompute=False))["gradient_error"] is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_without_a_gpu_the_benchmark_says_so() -> None:
    with pytest.raises(ValueError, match="got device=cuda, but PyTorch finds no CUDA device here"):
        main(["A8", "--device", "cuda"])


def test_an_unknown_workload_is_named() -> None:
    with pytest.raises(ValueError, match="got 'B9', expected one of A8"):
        main(["B9"])
