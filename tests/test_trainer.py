import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from experiment.run_report import report_sources
from outer_loop.config.file import load_config, made_by
from outer_loop.config.schema import Config
from outer_loop.run.checkpoint import load_checkpoint, save_checkpoint
from outer_loop.run.interruption import Interruption
from outer_loop.run.lock import run_lock
from outer_loop.schedules import outer_learning_rate
from outer_loop.trainer import Trainer
from unsupervised_update_rules.commands import meta_train
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, read_header

ROOT = Path(__file__).parent.parent
Arguments = Callable[..., list[str]]


def lines(run_dir: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def theta(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run_dir / "checkpoints" / "last.pt")["state"]["theta"]


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    first, second = theta(one), theta(other)
    for name in first:
        assert torch.equal(first[name], second[name]), name
    best, other_best = (load_rule(run / "rule.safetensors").state_dict() for run in (one, other))
    for name in best:
        assert torch.equal(best[name], other_best[name]), name


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "scripts/meta_train.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_lines(run_dir: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        metrics = run_dir / "metrics.jsonl"
        if metrics.exists() and len(metrics.read_bytes().splitlines()) >= count:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"no {count} lines in a minute")


def test_a_run_leaves_its_files_and_learns_something(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    run = tmp_path / "run"
    logged = lines(run)
    assert [line["outer_step"] for line in logged] == [1, 2, 3, 4, 5, 6]
    for line in logged:
        assert line["meta_loss"] > 0
        assert 0 <= line["accuracy"] <= 1
        assert line["gradient_norm"] > 0
        assert line["dropped_tasks"] == 0
        assert 2 <= line["inner_steps"] <= 3
    assert "heldout/digits/accuracy@4" in logged[2]
    assert "heldout/digits/accuracy@4" not in logged[3]
    assert "rule/rate" in logged[0]
    header = read_header(run / "rule.safetensors")
    assert header.rule == "neuron_local"
    assert header.use["steps"] == 4
    assert header.use.keys() == {"hidden", "outputs", "activation", "steps", "batch"}
    best = load_rule(run / "rule.safetensors")
    start_of_it = NeuronLocal(**best.config)
    assert any(not torch.equal(a, b) for a, b in zip(best.parameters(), start_of_it.parameters(), strict=True))
    for name in ("config.yaml", "timing.jsonl", "checkpoints/last.pt", "checkpoints/best.pt"):
        assert (run / name).stat().st_size > 0


def test_equal_seeds_give_equal_runs_and_others_do_not(tiny_config: Arguments, tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        assert meta_train.main(tiny_config(name, f"seed={seed}")) == 0
    assert_same_run(tmp_path / "one", tmp_path / "two")
    assert lines(tmp_path / "one")[0]["meta_loss"] != lines(tmp_path / "three")[0]["meta_loss"]


@pytest.mark.parametrize(
    "stop", [pytest.param(1, marks=pytest.mark.thorough), 4, pytest.param(5, marks=pytest.mark.thorough)]
)
def test_killed_and_resumed_equals_never_stopped(stop: int, tiny_config: Arguments, tmp_path: Path) -> None:
    """SIGKILL after ``stop`` outer steps (or a little later), before or after a checkpoint, then --resume."""
    steps = "outer_steps=8"
    process = start(tiny_config("killed", steps))
    wait_for_lines(tmp_path / "killed", stop, process)
    process.kill()
    process.communicate()
    assert len(lines_of_whole(tmp_path / "killed")) < 8, "the run was over before it could be killed"
    assert meta_train.main([*tiny_config("killed", steps), "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", steps)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def lines_of_whole(run_dir: Path) -> list[bytes]:
    return [line for line in (run_dir / "metrics.jsonl").read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signals_save_first(name: str, code: int, tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("outer_steps=2000", "checkpoint_every=5000", "evaluation.every=5000")
    process = start(tiny_config("run", *settings))
    wait_for_lines(tmp_path / "run", 2, process)
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "--resume" in out
    assert "Traceback" not in err
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert saved["state"]["outer_step"] == len(lines(tmp_path / "run"))


def test_a_second_interrupt_does_not_wait() -> None:
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.exit_code == 130
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_config_of_a_run_says_the_commands_that_made_it(tiny_config: Arguments, tmp_path: Path) -> None:
    assert (
        meta_train.main(tiny_config("run", "rule.options={hidden: 4,\n error_channels: 2, readout_channels: 1}")) == 0
    )
    assert meta_train.main([*tiny_config("run"), "--resume"]) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0
    first, second, third = made_by(tmp_path / "run" / "config.yaml")
    assert "error_channels: 2" in first
    assert second == f"python scripts/meta_train.py {' '.join(tiny_config('run'))}"
    assert third.endswith("outer_steps=7")
    assert load_config(tmp_path / "run" / "config.yaml").outer_steps == 7


def test_two_processes_cannot_train_in_one_folder(tiny_config: Arguments, tmp_path: Path) -> None:
    with (
        run_lock(tmp_path / "run"),
        pytest.raises(ValueError, match="another process trains there now") as caught,
    ):
        meta_train.main(tiny_config("run", "outer_steps=1"))
    assert "\n" not in str(caught.value)
    assert meta_train.main(tiny_config("run", "outer_steps=1")) == 0


def test_more_outer_steps_can_be_added(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    assert meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 8
    with pytest.raises(ValueError, match="got outer_steps=7, but 8 are done"):
        meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"])


def test_a_run_that_diverges_says_what_to_do(tiny_config: Arguments, tmp_path: Path) -> None:
    wild = ("outer.learning_rate=1e6", "outer.warmup=0", "outer.clip=1e9", "outer_steps=30", "seed=0")
    with pytest.raises(ValueError, match=r"resume with a lower outer.learning_rate"):
        meta_train.main(tiny_config("run", *wild))
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]["outer_step"] < 30


def test_a_run_can_go_on_with_a_lower_rate(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    lower = ("outer_steps=7", "outer.learning_rate=5e-4", "outer.clip=0.05")
    assert meta_train.main([*tiny_config("run", *lower), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 7


def test_turns_and_averages_resume_exactly(tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("outer.turns=3", "outer.average=0.9", "outer.final_learning_rate=1e-3")  # a rate that never falls
    assert meta_train.main(tiny_config("parts", *settings, "outer_steps=2", "evaluation.every=6")) == 0
    assert meta_train.main([*tiny_config("parts", *settings, "evaluation.every=6"), "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", *settings, "evaluation.every=6")) == 0
    assert lines(tmp_path / "parts")[2:5] == lines(tmp_path / "whole")[2:5]
    first, second = (load_checkpoint(tmp_path / run / "checkpoints" / "last.pt")["state"] for run in ("parts", "whole"))
    for name, value in first["average"].items():
        assert torch.equal(value, second["average"][name]), name


def test_turns_take_their_own_tasks_in_turn(tiny_config: Arguments) -> None:
    path, *overrides = tiny_config("run", "outer.turns=3", "inner.length=[50,60]")[1:]
    run = Trainer(load_config(path, overrides))
    orders = {tuple(slot.task.permutation.tolist()) for turn in run.state.slots for slot in turn}
    streams = {bytes(slot.generator.get_state().tolist()) for turn in run.state.slots for slot in turn}
    assert len(orders) == len(streams) == 12
    for step in range(6):
        before = [[slot.position for slot in turn] for turn in run.state.slots]
        run._outer_step()
        moved = [turn for turn in range(3) if [slot.position for slot in run.state.slots[turn]] != before[turn]]
        assert moved == [step % 3]


def test_the_kept_rule_is_the_moving_average_of_theta(tiny_config: Arguments, tmp_path: Path) -> None:
    """By its definition, from the θ of every outer step; it begins at that of the first."""
    settings = ("outer_steps=3", "outer.average=0.75")
    assert meta_train.main(tiny_config("whole", *settings)) == 0
    path, *overrides = tiny_config("steps", *settings)[1:]
    expected: dict[str, torch.Tensor] = {}
    run = Trainer(load_config(path, overrides))
    for _ in range(3):
        run._outer_step()
        now = {name: value.detach().clone() for name, value in run.state.rule.state_dict().items()}
        expected = {name: 0.75 * expected[name] + 0.25 * now[name] for name in now} if expected else now
    kept = load_rule(tmp_path / "whole" / "rule.safetensors").state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(kept[name], value)
    assert not torch.equal(kept["mixing"], now["mixing"])


def test_a_run_can_start_from_a_rule_file(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path, *overrides = tiny_config("next", f"rule.start={tmp_path}/run/rule.safetensors")[1:]
    begun, best = Trainer(load_config(path, overrides)).state.rule, load_rule(tmp_path / "run" / "rule.safetensors")
    assert begun.config == best.config
    assert all(torch.equal(value, best.state_dict()[name]) for name, value in begun.state_dict().items())
    assert meta_train.main(["--config", path, *overrides]) == 0
    files = [tmp_path / run / "rule.safetensors" for run in ("run", "next")]
    assert [read_header(file).provenance.get("started_from") for file in files] == [None, str(files[0])]
    files[0].rename(tmp_path / "moved.safetensors")  # θ is in the checkpoint from the first on
    assert meta_train.main(["--config", path, *overrides, "outer_steps=7", "--resume"]) == 0
    (tmp_path / "moved.safetensors").rename(files[0])
    with pytest.raises(ValueError, match=r"with rule neuron_local .*, expected hebbian"):
        Trainer(load_config(path, [*overrides, "rule.name=hebbian", "rule.options={}"]))


def test_only_the_parameters_that_are_named_are_learned(tiny_config: Arguments, tmp_path: Path) -> None:
    settings = ("rule.name=hebbian", "rule.options={}", "rule.learn=[bias, bias_slope]")
    assert meta_train.main(tiny_config("part", *settings)) == 0
    assert meta_train.main([*tiny_config("part", *settings, "outer_steps=8"), "--resume"]) == 0
    rule = load_checkpoint(tmp_path / "part" / "checkpoints" / "last.pt")["state"]["theta"]
    start = make_rule("hebbian").state_dict()
    assert {name for name in start if not torch.equal(rule[name], start[name])} == {"bias", "bias_slope"}
    with pytest.raises(ValueError, match=r"got 'biases' in rule.learn, expected .*did you mean bias\?"):
        meta_train.main(tiny_config("wrong", *settings[:2], "rule.learn=[biases]"))


def test_a_checkpoint_without_its_parts_is_one_line(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    for broken in ({}, {**saved, "state": 3}, {**saved, "state": {**saved["state"], "slots": [[{}]]}}):
        save_checkpoint(path, broken)
        with pytest.raises(ValueError, match="holds no whole run state"):
            meta_train.main([*tiny_config("run"), "--resume"])


def test_a_run_goes_on_from_a_checkpoint_that_is_older_than_a_setting(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    del saved["config"]["rule"]["learn"]
    save_checkpoint(path, saved)
    with pytest.raises(ValueError, match=r"rule.learn was \[\], got \['mixing'\]"):
        meta_train.main([*tiny_config("run", "outer_steps=7", "rule.learn=[mixing]"), "--resume"])
    assert meta_train.main([*tiny_config("run", "outer_steps=7"), "--resume"]) == 0


def test_another_experiment_cannot_take_over_a_run(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    with pytest.raises(ValueError, match="already holds a run"):
        meta_train.main(tiny_config("run"))
    with pytest.raises(ValueError, match=r"outer.penalty was 0.1, got 0.2"):
        meta_train.main([*tiny_config("run", "outer.penalty=0.2"), "--resume"])


def poisoned(run_dir: Path, slots: int) -> None:
    """Puts a NaN into the state of some tasks in flight of a checkpoint."""
    path = run_dir / "checkpoints" / "last.pt"
    saved = load_checkpoint(path)
    for slot in saved["state"]["slots"][0][:slots]:
        slot["state"]["w1"][0, 0] = torch.nan
        slot["length"] = 10**6
    save_checkpoint(path, saved)


def test_a_lost_task_is_restarted_and_counted(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    poisoned(tmp_path / "run", 2)
    assert meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"]) == 0
    assert [line["dropped_tasks"] for line in lines(tmp_path / "run")[6:]] == [2, 0]
    assert lines(tmp_path / "run")[7]["dropped_tasks_total"] == 2


def test_too_many_lost_tasks_stop_the_run_with_a_usable_checkpoint(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    before = theta(tmp_path / "run")
    poisoned(tmp_path / "run", 3)
    with pytest.raises(ValueError, match="3 of 4 tasks became non-finite"):
        meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"])
    saved = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert saved["state"]["outer_step"] == 6
    for name, value in before.items():
        assert torch.equal(saved["state"]["theta"][name], value)
    folder = tmp_path / "run" / "checkpoints"  # as the error says
    (folder / "last.pt").unlink()
    shutil.copy(folder / "step_00000004.pt", folder / "last.pt")
    lower = ("outer_steps=8", "outer.learning_rate=5e-4", "outer.final_learning_rate=1e-4")
    assert meta_train.main([*tiny_config("run", *lower), "--resume"]) == 0
    assert len(lines(tmp_path / "run")) == 8


def test_the_outer_learning_rate_rises_and_falls() -> None:
    config = Config.model_validate(
        {"outer_steps": 30, "outer": {"learning_rate": 0.1, "warmup": 10, "final_learning_rate": 0.02}}
    )
    rates = [outer_learning_rate(config, step) for step in (1, 5, 10, 20, 30, 31)]
    assert rates == pytest.approx([0.01, 0.05, 0.1, 0.06, 0.02, 0.02])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("outer.learning_rat=1", "did you mean outer.learning_rate"),
        ("tasks.sources=[nothing]", "unknown source 'nothing'"),
        ("tasks.ways=11", "10 classes, expected at least ways=11"),
        ("report.sources=[nothing]", "unknown source 'nothing'"),
        pytest.param(
            "device=cuda",
            "no CUDA device",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA"),
        ),
    ],
)
def test_bad_settings_are_named_before_anything_is_written(
    bad: str, message: str, tiny_config: Arguments, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        meta_train.main(tiny_config("run", bad))
    assert not (tmp_path / "run").exists()


def test_a_bad_setting_is_one_line_and_exit_code_2(tiny_config: Arguments) -> None:
    process = start(tiny_config("run", "outer.clip=none"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_rule_is_judged_by_true_labels_whatever_it_was_trained_with(tiny_config: Arguments) -> None:
    path, *overrides = tiny_config("run", "tasks.labeller=shuffled")[1:]
    config = load_config(path, overrides)
    trainer = Trainer(config)
    assert trainer.source.labeller == "shuffled"
    judging = [*trainer.held_out.sources.values(), *report_sources(config).values()]
    assert {source.labeller for source in judging} == {"true"}
