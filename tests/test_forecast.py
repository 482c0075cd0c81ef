"""What a run will take: the arithmetic of a forecast, and that trials change nothing and come near."""

import json
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from runs import REPORT, Arguments, trainer_of

import common.expected
from experiment import forecast
from experiment.forecast import Cost, Forecast, forecast_run
from unsupervised_update_rules.commands import meta_train
from unsupervised_update_rules.commands.entry import run


def test_costs_are_linear_in_steps_and_readouts() -> None:
    cost = Cost(np.array([1.0, 10.0]), np.array([0.5, 2.0]), np.array([0.1, 3.0]))
    np.testing.assert_allclose(cost.of(5, 3), [1 + 4 * 0.5 + 2 * 0.1, 10 + 4 * 2 + 2 * 3])


def test_the_whole_is_what_is_left_of_its_parts() -> None:
    found = Forecast(2.0, 30, 5.0, 7.0, peak_bytes=3 * 2**20, available_bytes=9 * 2**30, recompute=True)
    assert found.total_s == 72
    assert found.lines() == [
        "expected: 2.00 s an outer step, 0:01:12 in all (0:01:00 for 30 outer steps, 0:00:05 for evaluations, "
        "0:00:07 for the report)",
        "expected: 3 MB at the peak, 9,216 MB available; each inner step runs again in the backward pass",
    ]


def test_what_is_done_is_not_expected_again(tiny_config: Arguments) -> None:
    run = trainer_of(tiny_config("run", REPORT))
    assert forecast_run(run).outer_steps == 6
    for _ in range(6):
        run.step()
    done = forecast_run(run)
    assert (done.outer_steps, done.evaluations_s) == (0, 0)
    assert done.total_s == done.report_s > 0


@pytest.mark.thorough
def test_the_seconds_of_an_outer_step_are_near_what_they_then_are(tiny_config: Arguments, tmp_path: Path) -> None:
    arguments = tiny_config("run", "outer_steps=30", "inner.unroll=[3, 3]", "evaluation.every=30")
    expected = forecast_run(trainer_of(arguments))
    assert meta_train.main(arguments) == 0
    timing = [json.loads(line) for line in (tmp_path / "run" / "timing.jsonl").read_text().splitlines()]
    took = median(line["timing/outer_step_s"] for line in timing)
    assert took / 3 < expected.outer_step_s < took * 3  # wide: milliseconds on a busy machine
    assert expected.recompute is False
    assert expected.outer_steps == 30


def test_the_forecast_leaves_the_run_as_it_was(tiny_config: Arguments) -> None:
    tried, plain = (trainer_of(tiny_config(name)) for name in ("tried", "plain"))
    forecast_run(tried)
    assert tried.step() == plain.step()


@pytest.mark.thorough
def test_little_memory_means_recomputation_and_less_means_no_run(
    tiny_config: Arguments, tmp_path: Path, monkeypatch, capsys
) -> None:
    wide = "inner={unroll: [20, 20], length: [20, 20], read_every: 20}"
    many = tiny_config("run", wide, "network.options={hidden: [[64]], outputs: 4}", "tasks.batch=400")
    # Other processes change what memory there is from one forecast to the next.
    monkeypatch.setattr(common.expected, "available_memory", lambda device: 2**34)
    frugal = forecast_run(trainer_of([*many, "inner.recompute=true"]))
    ample = forecast_run(trainer_of(many))
    assert not ample.recompute
    assert frugal.peak_bytes < ample.peak_bytes
    # What the process holds already changes by some 100 MB between forecasts: a bound midway is clear of both.
    midway = (frugal.peak_bytes + ample.peak_bytes) / 2
    monkeypatch.setattr(forecast, "KEPT_SHARE", midway / ample.available_bytes)
    tight = forecast_run(trainer_of(many))
    assert tight.recompute
    assert tight.peak_bytes < midway
    monkeypatch.setattr(common.expected, "available_memory", lambda device: -(2**20))
    with pytest.raises(SystemExit) as stopped:
        run(lambda: meta_train.main(many))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "outer.tasks_per_step (now 4)" in error
    assert "MB" in error
    assert not (tmp_path / "run").exists()
