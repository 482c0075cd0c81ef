"""Memory: what the tracker counts, what an unroll of many steps takes, and that a run does not grow."""

import gc
from pathlib import Path

import psutil
import pytest
import torch
from runs import Arguments, trainer_of

from common.available_memory import _left_in_groups
from common.peak_memory import PeakMemory
from inner_loop.networks.mlp import MLP
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.readouts.objective import Objective
from tasks.task import Episode
from update_rules.contract import Problem
from update_rules.local.neuron_local import NeuronLocal

FLOATS = 1000
NUMBER = 4  # bytes


def test_the_peak_counts_what_lives_at_one_time() -> None:
    with PeakMemory() as memory:
        first = torch.ones(FLOATS)
        view = first[:10].reshape(2, 5)
        second = first + 1
        del second
        third = torch.zeros(3 * FLOATS)
        del first, third
    assert memory.peak == 4 * FLOATS * NUMBER
    assert view.numel() == 10
    assert memory.live == FLOATS * NUMBER
    del view
    assert memory.live == 0


def test_the_peak_counts_a_backward_pass() -> None:
    x = torch.ones(FLOATS, requires_grad=True)
    with PeakMemory() as memory:
        x.exp().exp().sum().backward()
    assert memory.peak >= 3 * FLOATS * NUMBER  # both results, which the graph keeps, and a gradient


def unroll_peak(steps: int, recompute: bool) -> int:
    """Bytes that a meta-gradient through ``steps`` inner steps takes at most."""
    draw = torch.Generator().manual_seed(0)
    rule, problem = NeuronLocal(), Problem.of(MLP((64, 32, 32, 16)))
    labels = torch.arange(5).repeat_interleave(4)
    episode = Episode(torch.rand(20, 64, generator=draw), labels, torch.rand(20, 64, generator=draw), labels)
    batches = torch.rand(steps, 32, 64, generator=draw)
    start = rule.init_state(problem, draw)
    one = TruncatedUnroll(problem, start, {"unlabelled": batches}, (steps,), (episode,), 5, draw)
    estimator = TruncatedBackprop().configured(Objective(), recompute=recompute)
    with PeakMemory() as memory:
        estimator.estimate(rule, dict(rule.named_parameters()), [one] * 2, {})
    return memory.peak


@pytest.mark.thorough
def test_a_hundred_steps_take_hardly_more_memory_than_ten() -> None:
    assert unroll_peak(100, recompute=True) <= 1.3 * unroll_peak(10, recompute=True)
    assert unroll_peak(20, recompute=False) > 1.5 * unroll_peak(10, recompute=False)


@pytest.mark.thorough
def test_a_thousand_outer_steps_leave_memory_as_it_was(tiny_config: Arguments) -> None:
    few = ("inner.unroll=[2, 2]", "outer.tasks_per_step=2", "network.options.hidden=[[5]]")
    trainer = trainer_of(tiny_config("run", "rule={name: hebbian, options: {}}", *few))
    tensors, resident = [], []
    for outer_step in range(1, 1201):
        trainer.step()
        if outer_step in (200, 1200):
            gc.collect()
            tensors.append(sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects()))
            resident.append(psutil.Process().memory_info().rss / 2**20)
    assert abs(tensors[1] - tensors[0]) <= 0.1 * tensors[0]
    assert resident[1] - resident[0] <= 8


@pytest.mark.parametrize(
    ("line", "folder", "limit", "usage"),
    [
        ("9:memory:/job/step", "memory/job", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("0::/job/step", "job", "memory.max", "memory.current"),
    ],
)
def test_limits_of_control_groups_count(line: str, folder: str, limit: str, usage: str, tmp_path: Path) -> None:
    group = tmp_path / folder
    group.mkdir(parents=True)
    (group / limit).write_text("1000\n")
    (group / usage).write_text("300\n")
    (group / "memory.stat").write_text("cache 9\ninactive_file 50\n")
    membership = tmp_path / "cgroup"
    membership.write_text(f"3:cpuset:/\n{line}\n")
    assert list(_left_in_groups(membership, tmp_path)) == [750]
    (group / limit).write_text("max\n")
    assert list(_left_in_groups(membership, tmp_path)) == []
    assert list(_left_in_groups(tmp_path / "none", tmp_path)) == []
