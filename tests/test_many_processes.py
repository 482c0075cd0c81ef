"""Runs of several processes, started by torchrun as a user would."""

import signal
import subprocess
from pathlib import Path

import psutil
import pytest
import torch
from few_shot_settings import PROTONET
from runs import REPORT, Arguments, command, finish, last_state, theta, wait_for_lines

from outer_loop.run.processes import ALONE, share_of_cores
from unsupervised_update_rules.commands import meta_train

SETTINGS = (
    *("rule={name: hebbian, options: {}}", "outer.tasks_per_step=5", "outer.turns=2", "outer.average=0.9"),
    *("evaluation.every=25", "checkpoint_every=10"),
)


def torchrun(arguments: list[str], processes: int = 2, restarts: int = 0) -> subprocess.Popen[str]:
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    return command("meta_train", arguments, before=(*words, "--max-restarts", str(restarts)))


def flat_theta(run_dir: Path) -> torch.Tensor:
    saved = last_state(run_dir)
    assert len(saved["trajectories"][0]) == 5
    return torch.cat([value.flatten() for value in saved["theta"].values()])


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


AVERAGES = (*PROTONET, "network.normalisation=running", "outer.tasks_per_step=5")


@pytest.mark.thorough
def test_two_ranks_average_the_statistics_of_all_tasks(tiny_config: Arguments, tmp_path: Path) -> None:
    finish(torchrun(tiny_config("two", *AVERAGES, "outer_steps=1")))
    assert meta_train.main(tiny_config("one", *AVERAGES, "outer_steps=1")) == 0
    two, one = (theta(tmp_path / name) for name in ("two", "one"))
    averages = [name for name in one if name.startswith(("mean", "var"))]
    assert len(averages) == 8
    for name in averages:
        torch.testing.assert_close(two[name], one[name])


@pytest.mark.thorough
def test_two_ranks_give_the_theta_of_one_process_and_take_up_each_others_runs(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    out, err = finish(torchrun(tiny_config("two", *SETTINGS, REPORT, "outer_steps=50")))
    assert out.count("report: ") == 1
    assert err.count("outer step 50/50") == 1
    assert meta_train.main(tiny_config("one", *SETTINGS, "outer_steps=50")) == 0
    assert distance(flat_theta(tmp_path / "two"), flat_theta(tmp_path / "one")) <= 1e-4
    assert meta_train.main([*tiny_config("two", *SETTINGS, "outer_steps=55"), "--resume"]) == 0
    finish(torchrun([*tiny_config("one", *SETTINGS, "outer_steps=55"), "--resume"]))
    assert distance(flat_theta(tmp_path / "two"), flat_theta(tmp_path / "one")) <= 1e-4
    lines = (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 56, "the start, and every outer step"


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_worker_is_restarted_and_the_run_goes_on(rank: int, tiny_config: Arguments, tmp_path: Path) -> None:
    long = (*SETTINGS, "outer_steps=80")
    process = torchrun(tiny_config("killed", *long), restarts=2)
    metrics = tmp_path / "killed" / "metrics.jsonl"
    wait_for_lines(tmp_path / "killed", 25, process)
    workers = sorted(psutil.Process(process.pid).children(), key=lambda child: int(child.environ()["RANK"]))
    workers[rank].send_signal(signal.SIGKILL)
    _, err = finish(process)
    assert "resuming" in err
    finish(torchrun(tiny_config("whole", *long)))
    assert torch.equal(flat_theta(tmp_path / "killed"), flat_theta(tmp_path / "whole"))
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
    wait_for_lines(tmp_path / "stopped", 3, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert last_state(tmp_path / "stopped")["outer_step"] + 1 == len(metrics.read_bytes().splitlines())


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
