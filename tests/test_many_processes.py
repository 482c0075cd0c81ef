"""Runs of several processes, started by torchrun as a user would."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from few_shot_settings import PROTONET

from outer_loop.run.checkpoint import load_checkpoint
from outer_loop.run.processes import ALONE, share_of_cores
from unsupervised_update_rules.commands import meta_train

ROOT = Path(__file__).parent.parent
Arguments = Callable[..., list[str]]
SETTINGS = (
    *("rule={name: hebbian, options: {}}", "outer.tasks_per_step=5", "outer.turns=2", "outer.average=0.9"),
    *("evaluation.every=25", "checkpoint_every=10"),
)


def torchrun(arguments: list[str], processes: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)),
            *("--max-restarts", str(restarts), "scripts/meta_train.py", *arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def theta(run_dir: Path) -> torch.Tensor:
    saved = load_checkpoint(run_dir / "checkpoints" / "last.pt")["state"]
    assert len(saved["slots"][0]) == 5
    return torch.cat([value.flatten() for value in saved["theta"].values()])


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


AVERAGES = (*PROTONET, "network.batch_norm=running", "outer.tasks_per_step=5")


@pytest.mark.thorough
def test_two_ranks_average_the_statistics_of_all_tasks(tiny_config: Arguments, tmp_path: Path) -> None:
    finish(torchrun(tiny_config("two", *AVERAGES, "outer_steps=1")))
    assert meta_train.main(tiny_config("one", *AVERAGES, "outer_steps=1")) == 0
    two, one = (
        load_checkpoint(tmp_path / name / "checkpoints" / "last.pt")["state"]["theta"] for name in ("two", "one")
    )
    averages = [name for name in one if name.startswith(("mean", "var"))]
    assert len(averages) == 8
    for name in averages:
        torch.testing.assert_close(two[name], one[name])


@pytest.mark.thorough
def test_two_ranks_give_the_theta_of_one_process_and_take_up_each_others_runs(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    out, err = finish(torchrun(tiny_config("two", *SETTINGS, "outer_steps=50")))
    assert out.count("report: ") == 1
    assert err.count("outer step 50/50") == 1
    assert meta_train.main(tiny_config("one", *SETTINGS, "outer_steps=50")) == 0
    assert distance(theta(tmp_path / "two"), theta(tmp_path / "one")) <= 1e-4
    assert meta_train.main([*tiny_config("two", *SETTINGS, "outer_steps=55"), "--resume"]) == 0
    finish(torchrun([*tiny_config("one", *SETTINGS, "outer_steps=55"), "--resume"]))
    assert distance(theta(tmp_path / "two"), theta(tmp_path / "one")) <= 1e-4
    lines = (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 55


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_is_restarted_and_the_run_goes_on(rank: int, tiny_config: Arguments, tmp_path: Path) -> None:
    long = (*SETTINGS, "outer_steps=80")
    process = torchrun(tiny_config("killed", *long), restarts=2)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_bytes().splitlines()) < 25:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    workers = sorted(psutil.Process(process.pid).children(), key=lambda child: int(child.environ()["RANK"]))
    workers[rank].send_signal(signal.SIGKILL)
    _, err = finish(process)
    assert "resuming" in err
    finish(torchrun(tiny_config("whole", *long)))
    assert torch.equal(theta(tmp_path / "killed"), theta(tmp_path / "whole"))
    assert metrics.read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


@pytest.mark.thorough
def test_a_mistake_is_told_once_and_not_tried_again(tiny_config: Arguments) -> None:
    process = torchrun(tiny_config("few", "outer.tasks_per_step=1"), restarts=3)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert err.count("error: got outer.tasks_per_step=1 for 2 processes") == 1


@pytest.mark.slow
def test_a_signal_to_torchrun_saves_first(tiny_config: Arguments, tmp_path: Path) -> None:
    process = torchrun(tiny_config("stopped", *SETTINGS, "outer_steps=5000", "evaluation.every=5000"))
    metrics = tmp_path / "stopped" / "metrics.jsonl"
    while not metrics.exists() or len(metrics.read_bytes().splitlines()) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    saved = load_checkpoint(tmp_path / "stopped" / "checkpoints" / "last.pt")["state"]
    assert saved["outer_step"] == len(metrics.read_bytes().splitlines())


def test_one_process_alone_has_the_whole() -> None:
    assert ALONE.own([1, 2, 3]) == [1, 2, 3]
    values = torch.tensor([1.0, 2.0], dtype=torch.float64)
    mean, weight = ALONE.mean(values, 4)
    assert torch.equal(mean, values)
    assert weight == 4


@pytest.mark.parametrize(("cores", "ranks"), [({0, 1}, 2), ({3, 5, 8, 9, 11}, 2), (set(range(8)), 3), ({4}, 1)])
def test_ranks_of_a_machine_share_its_cores(cores: set[int], ranks: int) -> None:
    shares = [share_of_cores(cores, rank, ranks) for rank in range(ranks)]
    assert {len(share) for share in shares} == {len(cores) // ranks}
    assert len(set().union(*shares)) == ranks * (len(cores) // ranks)
    assert set().union(*shares) <= cores


def test_more_ranks_than_cores_go_where_they_like() -> None:
    assert share_of_cores({2, 7}, 2, 3) == {2, 7}
