"""Checkpoints: exact, complete at every instant, and refused when they are not what they should be."""

import os
import pickle
import resource
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.atomic_file import temporary_name
from outer_loop.run.checkpoint import Checkpoints, load_checkpoint, save_checkpoint

ROOT = Path(__file__).parent.parent


def payload(step=7):
    generator = torch.Generator().manual_seed(step)
    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    model(torch.randn(4, 3, generator=generator)).sum().backward()
    optimiser.step()
    return {
        "theta": dict(model.state_dict()),
        "optimiser": optimiser.state_dict(),
        "generator": generator.get_state(),
        "step": step,
        "nested": [{"a": (1, 2.5, None)}, "text", True, -float("inf")],
    }


def assert_same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    else:
        assert one == other


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "file.pt"
    save_checkpoint(path, payload())
    return path


def test_everything_comes_back_to_the_bit(tmp_path):
    saved = payload()
    save_checkpoint(tmp_path / "file.pt", saved)
    assert_same(load_checkpoint(tmp_path / "file.pt"), saved)
    assert [p.name for p in tmp_path.iterdir()] == ["file.pt"]


@pytest.mark.parametrize("value", [np.float64(1.0), np.zeros(2), object(), {1, 2}, Path(), np.int64])
def test_what_could_not_be_read_back_is_not_written(path, value):
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"payload\['a'\]\[1\] is a "):
        save_checkpoint(path, {"a": [1, value]})
    assert path.read_bytes() == before


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_one_line_or_harmless(tmp_path, data):
    """A cut anywhere, or a changed byte anywhere: told, or in a place that does not matter."""
    path = tmp_path / "file.pt"
    saved = payload()
    save_checkpoint(path, saved)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        loaded, message = load_checkpoint(path), None
    except ValueError as error:
        loaded, message = None, str(error)
    if message is None:
        assert_same(loaded, saved)
    else:
        assert message.startswith(f"checkpoint {path}: damaged")
        assert "\n" not in message


def test_a_changed_weight_is_noticed(path):
    content = bytearray(path.read_bytes())
    weight = load_checkpoint(path)["theta"]["weight"].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"file\.pt: damaged in .*; take an earlier one"):
        load_checkpoint(path)


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def foreign_files(tmp_path):
    trap = Trap(tmp_path / "ran")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("weights")
    (tmp_path / "pickle").write_bytes(pickle.dumps(trap))
    torch.save({"format": "unsupervised-update-rules checkpoint", "version": 1, "payload": trap}, tmp_path / "code")
    torch.save(trap, tmp_path / "old", _use_new_zipfile_serialization=False)
    torch.save({"theta": torch.zeros(2)}, tmp_path / "other")
    torch.save([1, 2], tmp_path / "list")
    with zipfile.ZipFile(tmp_path / "zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "b")
    return ["empty", "text", "pickle", "code", "old", "other", "list", "zip"]


def test_foreign_files_and_code_are_refused_and_not_run(tmp_path):
    for name in foreign_files(tmp_path):
        with pytest.raises(ValueError, match=f"checkpoint .*{name}: damaged or not a checkpoint") as caught:
            load_checkpoint(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_other_versions_are_refused(tmp_path):
    tagged = {"format": "unsupervised-update-rules checkpoint", "version": 1, "payload": {}}
    torch.save(tagged, tmp_path / "old")
    with pytest.raises(ValueError, match="got version 1, expected 2"):
        load_checkpoint(tmp_path / "old")
    torch.save({**tagged, "version": 2, "payload": 3}, tmp_path / "hollow")
    with pytest.raises(ValueError, match="holds no payload"):
        load_checkpoint(tmp_path / "hollow")


def test_a_file_that_cannot_be_read_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"checkpoint .*absent: not found"):
        load_checkpoint(tmp_path / "absent")
    with pytest.raises(IsADirectoryError, match=r"checkpoint .*: Is a directory"):
        load_checkpoint(tmp_path)


def test_the_newest_are_kept_besides_last_and_best(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    for step in (5, 10, 95, 100):
        checkpoints.save(step, {"step": step})
        if step == 10:
            checkpoints.save_best({"step": step})
    names = sorted(path.name for path in checkpoints.folder.iterdir())
    assert names == ["best.pt", "last.pt", "step_00000095.pt", "step_00000100.pt"]
    assert load_checkpoint(checkpoints.last) == {"step": 100}
    assert load_checkpoint(checkpoints.best) == {"step": 10}


def test_none_but_the_last_may_be_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=0)
    for step in (1, 2):
        checkpoints.save(step, {"step": step})
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert load_checkpoint(checkpoints.last) == {"step": 2}


def test_one_checkpoint_copied_over_another_leaves_the_newest_state(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save_best({"step": 1})
    checkpoints.save(2, {"step": 2})
    shutil.copyfile(checkpoints.best, checkpoints.last)  # as cp does, into the same file
    assert load_checkpoint(checkpoints.last) == {"step": 1}
    assert load_checkpoint(tmp_path / "step_00000002.pt") == {"step": 2}


def test_unfinished_files_of_a_killed_run_are_removed(tmp_path):
    Checkpoints(tmp_path, keep=1).save(1, {})
    leftover = temporary_name(tmp_path / "last.pt")
    leftover.write_bytes(b"half")
    Checkpoints(tmp_path, keep=1)
    assert not leftover.exists()
    assert load_checkpoint(tmp_path / "last.pt") == {}


def test_a_full_disk_is_an_os_error_and_leaves_the_last_one(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match=r"cannot write .*step_00000002\.pt: ") as caught:
            checkpoints.save(2, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert load_checkpoint(checkpoints.last) == {"step": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "step_00000001.pt"]


def test_last_is_whole_wherever_sigkill_strikes(tmp_path):
    """A child saves step 2 over step 1 and kills itself at its k-th file operation, for every k."""
    program = textwrap.dedent(
        """
        import os, signal, sys, torch
        from outer_loop.run.checkpoint import Checkpoints, load_checkpoint

        FILE_OPERATIONS = {"open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.listdir", "os.scandir"}
        left = None

        def kill_at_zero(event, arguments):
            global left
            if left is not None and event in FILE_OPERATIONS:
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.addaudithook(kill_at_zero)
        seen, k, killed = [], 0, True
        while killed:
            folder = os.path.join(sys.argv[1], str(k))
            Checkpoints(folder, 1).save(1, {"step": 1})
            child = os.fork()
            if child == 0:
                left = k
                Checkpoints(folder, 1).save(2, {"step": 2, "weights": torch.zeros(50_000)})
                os._exit(0)
            killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
            last = load_checkpoint(os.path.join(folder, "last.pt"))
            seen.append(last["step"])
            Checkpoints(folder, 1).save(3, {"step": 3})
            files = sorted(os.listdir(folder))
            assert files == ["last.pt", "step_00000003.pt"], (k, files)
            k += 1
        print(*seen)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = done.stdout.split()
    assert len(seen) > 8, "the child was killed at few places"
    assert seen == sorted(seen)
    assert {"1", "2"} == set(seen)
