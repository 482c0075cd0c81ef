"""Exit codes and error lines that all scripts share."""

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from runs import ROOT, Arguments, command

from unsupervised_update_rules.commands.arguments import different, threads
from unsupervised_update_rules.commands.entry import run, run_command


def fails(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("got 3,\n  expected 4"), "error: got 3, expected 4"),
        (
            FileNotFoundError(2, "No such file or directory", "x.npz"),
            "error: x.npz: no such file or directory",
        ),
        (ValueError(), "error: ValueError"),
        (MemoryError(), "error: not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"), "error: not enough memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), "error: not enough memory"),
    ],
)
def test_an_error_of_the_user_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    monkeypatch.delenv("UPDATE_RULES_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as exit_:
        run(lambda: fails(error))
    assert exit_.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert line in captured.err


def test_ctrl_c_during_imports_is_one_line(tmp_path: Path) -> None:
    process = command("evaluate", ["--data", "digits"], tmp_path)
    time.sleep(0.7)  # PyTorch is being imported
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def test_the_first_line_comes_within_a_second_or_so(tmp_path: Path, tiny_config: Arguments) -> None:
    process = command("meta_train", tiny_config("run"), tmp_path)
    started = time.monotonic()
    assert process.stdout is not None
    assert process.stdout.readline() == "meta_train: loading PyTorch\n"
    assert time.monotonic() - started < 3  # on a machine that is busy with other tests
    process.kill()
    process.communicate()


def test_output_that_nobody_reads_is_no_error(tmp_path: Path) -> None:
    """What is to be written is written before it is printed, so that `| head` loses nothing."""
    evaluate = f"{sys.executable} {ROOT}/scripts/evaluate.py --data digits --ways 2 --shots 1 --tasks 2 --baselines raw"
    line = f"set -o pipefail; {evaluate} --json {tmp_path / 'found.json'} | true"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (tmp_path / "found.json").exists()
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_other_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    for main, code in ((lambda: 0, 0), (lambda: 1, 1), (lambda: fails(KeyboardInterrupt()), 130)):
        with pytest.raises(SystemExit) as exit_:
            run(main)
        assert exit_.value.code == code
    with pytest.raises(RuntimeError, match="a bug keeps its traceback"):
        run(lambda: fails(RuntimeError("a bug keeps its traceback")))
    monkeypatch.setenv("UPDATE_RULES_TRACEBACK", "1")
    with pytest.raises(ValueError, match="shown in full"):
        run(lambda: fails(ValueError("shown in full")))


def test_an_error_of_the_program_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        run(lambda: fails(RuntimeError("a bug")))


def test_modules_in_the_folder_that_a_script_is_started_in_are_found_behind_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate"])
    here = str(tmp_path)
    others = [folder for folder in sys.path if folder not in ("", here)]
    for before, after in ((others, [*others, here]), ([here, *others], [here, *others])):
        monkeypatch.setattr(sys, "path", list(before))
        with pytest.raises(SystemExit) as exit_:
            run_command("evaluate")
        assert exit_.value.code == 2  # --data is missing
        assert sys.path == after


def test_arguments_that_fit_no_machine_or_name_one_file_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="the processors here"):
        threads("1000000")
    different(one=tmp_path / "a", two=None, three=None, four=tmp_path / "b")
    with pytest.raises(ValueError, match="for --one and --two, expected different files"):
        different(one=tmp_path / "a", two=tmp_path / "x" / ".." / "a")
