import json
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from experiment import plan
from experiment.plan import Cost, plan_run
from outer_loop.config.file import load_config
from outer_loop.trainer import Trainer
from unsupervised_update_rules.commands import meta_train
from unsupervised_update_rules.commands.entry import run

Arguments = Callable[..., list[str]]


def trainer(arguments: list[str]) -> Trainer:
    _, file, *overrides = arguments
    return Trainer(load_config(file, overrides))


def test_costs_are_linear_in_steps_and_readouts() -> None:
    cost = Cost(np.array([1.0, 10.0]), np.array([0.5, 2.0]), np.array([0.1, 3.0]))
    np.testing.assert_allclose(cost.of(5, 3), [1 + 4 * 0.5 + 2 * 0.1, 10 + 4 * 2 + 2 * 3])


@pytest.mark.thorough
def test_the_plan_is_near_what_then_happens(tiny_config: Arguments, tmp_path: Path) -> None:
    arguments = tiny_config("run", "outer_steps=30", "inner.unroll=[3, 3]", "evaluation.every=30")
    planned = plan_run(trainer(arguments))
    assert meta_train.main(arguments) == 0
    timing = [json.loads(line) for line in (tmp_path / "run" / "timing.jsonl").read_text().splitlines()]
    took = median(line["timing/outer_step_s"] for line in timing)
    assert took / 3 < planned.outer_step_s < took * 3  # wide: milliseconds on a busy machine
    assert planned.total_s >= 30 * planned.outer_step_s
    assert planned.recompute is False


def test_the_plan_leaves_the_run_as_it_was(tiny_config: Arguments) -> None:
    planned, plain = (trainer(tiny_config(name)) for name in ("planned", "plain"))
    plan_run(planned)
    assert planned._outer_step() == plain._outer_step()


@pytest.mark.thorough
def test_little_memory_means_recomputation_and_less_means_no_run(
    tiny_config: Arguments, tmp_path: Path, monkeypatch, capsys
) -> None:
    wide = "inner={unroll: [20, 20], length: [20, 20], read_every: 20}"
    many = tiny_config("run", wide, "network={hidden: [[64]], outputs: 4}", "tasks.batch=400")
    # Other processes change what memory there is from one plan to the next.
    monkeypatch.setattr(plan, "available_memory", lambda device: 2**34)
    frugal = plan_run(trainer([*many, "inner.recompute=true"]))
    ample = plan_run(trainer(many))
    assert not ample.recompute
    assert frugal.peak_bytes < ample.peak_bytes
    # What the process holds already changes by some 100 MB between plans: a bound midway is clear of both.
    midway = (frugal.peak_bytes + ample.peak_bytes) / 2
    monkeypatch.setattr(plan, "KEPT_SHARE", midway / ample.available_bytes)
    tight = plan_run(trainer(many))
    assert tight.recompute
    assert tight.peak_bytes < midway
    monkeypatch.setattr(plan, "available_memory", lambda device: -(2**20))
    with pytest.raises(SystemExit) as stopped:
        run(lambda: meta_train.main(many))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "outer.tasks_per_step (now 4)" in error
    assert "MB" in error
    assert not (tmp_path / "run").exists()
