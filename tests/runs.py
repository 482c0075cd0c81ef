"""Runs as a user starts and stops them, and what they leave behind."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from experiment.build import build_trainer
from outer_loop.config.file import load_config
from outer_loop.run.checkpoint import load_checkpoint
from outer_loop.trainer import Trainer
from update_rules.rule_file import load_rule

ROOT = Path(__file__).parent.parent

Arguments = Callable[..., list[str]]
"""The fixture ``tiny_config``."""

REPORT = "report.sources=[digits]"
"""The run of ``tiny_config`` with a report, which takes longer than the run."""


def trainer_of(arguments: list[str]) -> Trainer:
    """The Trainer of what ``tiny_config`` gives."""
    _, path, *overrides = arguments
    return build_trainer(load_config(path, overrides))


def command(
    script: str, arguments: list[str], folder: Path = ROOT, before: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    """A script of this tree, started in ``folder``; ``before`` are words of Python's own, such as ``-m MODULE``."""
    return subprocess.Popen(
        [sys.executable, *before, str(ROOT / "scripts" / f"{script}.py"), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )


def wait_for_lines(run_dir: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Return when ``process`` has logged ``count`` outer steps."""
    deadline = time.monotonic() + 60
    metrics = run_dir / "metrics.jsonl"
    while time.monotonic() < deadline:
        if metrics.exists() and len(metrics.read_bytes().splitlines()) > count:  # the first is the start
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    raise AssertionError(f"no {count} lines in a minute")


def kill_after(run_dir: Path, count: int, process: subprocess.Popen[str], steps: int) -> None:
    """SIGKILL when ``count`` of ``steps`` outer steps are logged, or a little later."""
    wait_for_lines(run_dir, count, process)
    process.kill()
    process.communicate()
    whole = [
        line for line in (run_dir / "metrics.jsonl").read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    ]
    assert len(whole) < steps, "the run was over before it could be killed"


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process wrote that ends well."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def lines(run_dir: Path) -> list[dict[str, float]]:
    """The metrics of every outer step, without those of the start."""
    every = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["outer_step"] for line in every[:1]] in ([], [0])
    return every[1:]


def last_state(run_dir: Path) -> dict[str, object]:
    """The state in the last checkpoint."""
    return load_checkpoint(run_dir / "checkpoints" / "last.pt")["state"]


def theta(run_dir: Path) -> dict[str, torch.Tensor]:
    """The θ in the last checkpoint."""
    return last_state(run_dir)["theta"]


def assert_same_run(one: Path, other: Path, trust: tuple[str, ...] = ()) -> None:
    """The same metrics, last θ and best rule, to the bit."""
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    first, second = theta(one), theta(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    best, other_best = (load_rule(run / "rule.safetensors", trust).state_dict() for run in (one, other))
    assert best.keys() == other_best.keys()
    for name in best:
        assert torch.equal(best[name], other_best[name]), name
