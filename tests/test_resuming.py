"""Going on with a run: from which checkpoint, with which settings and data, and after which accidents."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from runs import REPORT, Arguments, assert_same_run, command, lines, trainer_of

from outer_loop.run.checkpoint import load_checkpoint, save_checkpoint
from outer_loop.run.interruption import Interruption, StoppedError
from outer_loop.run.lock import run_lock
from outer_loop.run.progress import OuterProgress
from outer_loop.run.tracking import open_trackers
from unsupervised_update_rules.commands import meta_train
from update_rules.rule_file import read_header


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_newest_checkpoint_is_passed_over_and_said_so(
    tiny_config: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    assert meta_train.main(tiny_config("whole", "outer_steps=8")) == 0
    folder = tmp_path / "run" / "checkpoints"
    damage(folder / "last.pt")
    damage(folder / "step_00000006.pt")
    capsys.readouterr()
    assert meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"]) == 0
    said = capsys.readouterr().err
    assert "last.pt: damaged" in said
    assert "going on from step_00000004.pt" in said
    assert "outer_steps was 6, is 8" in said
    assert [line["outer_step"] for line in lines(tmp_path / "run")] == list(range(1, 9))
    for path in folder.glob("*.pt"):
        damage(path)
    with pytest.raises(ValueError, match=r"last.pt: damaged"):
        meta_train.main([*tiny_config("run", "outer_steps=8"), "--resume"])


def test_a_mistyped_folder_is_no_new_run(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("first_run")) == 0
    with pytest.raises(ValueError, match=r"holds no run to resume \(did you mean first_run\?\)"):
        meta_train.main([*tiny_config("frist_run"), "--resume"])
    assert not (tmp_path / "frist_run").exists()


def test_auto_resume_starts_or_goes_on(tiny_config: Arguments, tmp_path: Path) -> None:
    for _ in range(2):
        assert meta_train.main([*tiny_config("run"), "--auto-resume"]) == 0
    assert [line["outer_step"] for line in lines(tmp_path / "run")] == list(range(1, 7))
    assert not (tmp_path / "run" / "report").exists()


def test_metrics_without_checkpoints_are_kept(
    tiny_config: Arguments, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    capsys.readouterr()
    assert meta_train.main([*tiny_config("run"), "--resume"]) == 0
    assert "the run starts anew, and its 7 lines of metrics are set aside" in capsys.readouterr().err
    assert (tmp_path / "run" / "metrics.before1.jsonl").read_bytes() == before
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.thorough
def test_data_that_have_moved_are_the_same_data(tiny_config: Arguments, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("there", "other"):
        x = rng.integers(0, 256, (60, 6, 6), dtype=np.uint8)
        np.savez(tmp_path / f"{name}.npz", x=x, y=np.arange(60) % 5)
    shutil.copy(tmp_path / "there.npz", tmp_path / "moved.npz")

    def run(name: str, *more: str) -> list[str]:
        source = f"[npz:{tmp_path / name}.npz]"
        return tiny_config("run", f"tasks.sources={source}", f"evaluation.sources={source}", *more)

    assert meta_train.main(run("there")) == 0
    assert meta_train.main([*run("moved", "outer_steps=7"), "--resume"]) == 0
    with pytest.raises(ValueError, match=r"cannot resume with other settings: evaluation.sources was .*moved.*other"):
        meta_train.main([*run("other", "outer_steps=8"), "--resume"])


def test_a_signal_during_validation_is_answered_at_once_and_nothing_is_lost(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    """The validation of outer step 3 is interrupted; the resumed run makes up for it."""
    arguments = tiny_config("stopped", "inner.recompute=true")
    trainer = trainer_of(arguments)
    validate = trainer.parts.validator.validate
    calls = []

    def interrupted(rule):
        calls.append(1)
        if len(calls) == 1:
            return validate(rule)
        signal.raise_signal(signal.SIGTERM)
        raise AssertionError("the signal was not answered")

    trainer.parts.validator.validate = interrupted
    Path(trainer.config.run_dir).mkdir()
    tracker = open_trackers(trainer.config, trainer.state.run_id, None, print)
    with Interruption() as interruption, OuterProgress(6, shown=False) as progress:
        trainer.run(tracker, progress, interruption)
    tracker.close()
    assert interruption.exit_code == 143
    assert len(calls) == 2
    saved = load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")["state"]
    assert saved["outer_step"] == 3
    assert saved["pending"]["inner_steps"] >= 2
    assert [line["outer_step"] for line in lines(tmp_path / "stopped")] == [1, 2]
    assert meta_train.main([*arguments, "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", "inner.recompute=true")) == 0
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_a_signal_during_the_report_is_answered_at_once(tiny_config: Arguments, tmp_path: Path) -> None:
    process = command(
        "meta_train", tiny_config("run", "outer_steps=1", REPORT, "report.tasks=100000", "evaluation.tasks=1")
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "networks evaluated" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 130, err
    assert "stopped by SIGINT after outer step 1; --resume continues" in out
    assert "Traceback" not in err
    assert load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")["state"]["outer_step"] == 1


@pytest.mark.parametrize(("handler", "code"), [(signal.SIG_DFL, 129), (signal.SIG_IGN, 0)])
def test_hanging_up_saves_but_not_under_nohup(handler: signal.Handlers, code: int) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        with Interruption() as interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.exit_code == code
    finally:
        signal.signal(signal.SIGHUP, before)


def test_where_nothing_is_saved_a_signal_stops_at_once() -> None:
    with Interruption() as interruption:
        with pytest.raises(StoppedError), interruption.at_once():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(StoppedError), interruption.at_once():
            raise AssertionError("entered after a signal")


@pytest.mark.thorough
def test_a_run_that_is_refused_touches_nothing(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run")) == 0
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    with run_lock(tmp_path / "run"), pytest.raises(ValueError, match="another process trains there"):
        meta_train.main([*tiny_config("run"), "--resume"])
    with pytest.raises(ValueError, match="expected at least ways=99"):
        meta_train.main([*tiny_config("run", "tasks.ways=99"), "--resume"])
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before


@pytest.mark.thorough
def test_other_validation_data_under_the_same_name_are_refused(tiny_config: Arguments, tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    arguments = tiny_config("run", f"evaluation.sources=npz:{path}", "outer_steps=8")
    rng = np.random.default_rng(0)
    np.savez(path, x=rng.integers(0, 256, (60, 6, 6), dtype=np.uint8), y=np.arange(60) % 5)
    assert meta_train.main([*arguments, "outer_steps=6"]) == 0
    np.savez(path, x=rng.integers(0, 256, (60, 6, 6), dtype=np.uint8), y=np.arange(60) % 5)
    with pytest.raises(ValueError, match="by which the best rule is chosen, are not those of the checkpoint"):
        meta_train.main([*arguments, "--resume"])


@pytest.mark.thorough
def test_going_back_leaves_no_step_of_the_line_that_was_left(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run", "keep=2")) == 0
    folder = tmp_path / "run" / "checkpoints"
    older = load_checkpoint(folder / "step_00000004.pt")
    del older["state"]["pending"], older["validation"]  # as checkpoints were before there were such
    save_checkpoint(folder / "last.pt", older)
    assert meta_train.main([*tiny_config("run", "keep=2", "outer_steps=5"), "--resume"]) == 0
    assert sorted(path.name for path in folder.glob("step_*")) == [
        *("step_00000004.pt", "step_00000005.pt", "step_00000006.before1.pt"),
    ]


@pytest.mark.parametrize("rate", ["0.03", "0.3"])
def test_the_best_rule_is_none_of_a_line_that_was_left(rate: str, tiny_config: Arguments, tmp_path: Path) -> None:
    """Where the rate is another one; with the same settings the run repeats itself."""
    settings = ("evaluation.every=1", "checkpoint_every=1", "keep=6", "outer.warmup=0", "outer.clip=10")
    assert meta_train.main(tiny_config("run", *settings, "outer.learning_rate=0.03")) == 0
    run, folder = tmp_path / "run", tmp_path / "run" / "checkpoints"
    assert int(read_header(run / "rule.safetensors").provenance["outer_steps"]) > 1
    before = (run / "rule.safetensors").read_bytes()
    shutil.copyfile(folder / "step_00000001.pt", folder / "last.pt")
    assert meta_train.main([*tiny_config("run", *settings, f"outer.learning_rate={rate}"), "--resume"]) == 0
    if rate == "0.03":
        assert (run / "rule.safetensors").read_bytes() == before
        assert not (run / "rule.before1.safetensors").exists()
        return
    assert (run / "rule.before1.safetensors").read_bytes() == before
    shutil.copyfile(folder / "step_00000001.pt", folder / "last.pt")
    (run / "rule.safetensors").unlink()  # as if it had been killed when the best had been set aside
    assert meta_train.main([*tiny_config("run", *settings, f"outer.learning_rate={rate}"), "--resume"]) == 0
    after = [line["valid_accuracy"] for line in lines(run) if line["outer_step"] > 1]
    assert float(read_header(run / "rule.safetensors").provenance["valid_accuracy"]) == max(after)
