"""Tasks in flight: what a team shares, how long trajectories are, and what of a mixture is drawn."""

from collections import Counter

import numpy as np
import pytest
import torch

from common.notice import Notice
from experiment.task_sources import load_datasets, training_tasks
from inner_loop.networks.mlp import MLPs
from outer_loop.config.schema import Config
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.trajectories import Trajectories, Trajectory
from outer_loop.truncation import TruncationSchedule
from tasks.dataset import Dataset
from tasks.source import TaskSource
from update_rules.local.hebbian import Hebbian

RULE = Hebbian()
COUNT = 7


def data(name: str, classes: int, inputs: int) -> Dataset:
    draw = torch.Generator().manual_seed(inputs)
    y = torch.arange(classes).repeat(9)
    return Dataset(name, torch.rand(len(y), inputs, generator=draw), y, None, tuple("abcdefgh"[:classes]))


def mixture() -> TaskSource:
    return TaskSource(
        (data("wide", 8, 30), data("small", 2, 5), data("other", 3, 12)),
        ways=5,
        shots=4,
        queries=3,
        permute=True,
        fewest_ways=3,
        fewest_shots=2,
        inputs=(6, 20),
        parts=(1, 2),
    )


def trajectories(team: int = 3) -> Trajectories:
    networks = MLPs(((4,), (6, 5), ()), 3, ("relu", "tanh"))
    schedule = TruncationSchedule((2, 4), (5, 40))
    return Trajectories(mixture(), networks, False, (8, 12), schedule, team, torch.device("cpu"), TruncatedBackprop())


def training_source(settings: dict[str, object]) -> TaskSource:
    config = Config.model_validate(settings)
    return training_tasks(config, load_datasets(config, config.tasks.sources))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lived(at: Trajectories, every: list[Trajectory], unrolls: int, lose: tuple[int, ...] = ()) -> list[Trajectory]:
    """Trajectories after ``unrolls`` unrolls of 3 steps; in the second one those of ``lose`` become non-finite."""
    for unroll in range(unrolls):
        every = [at.restart(RULE, one, unroll) if one.finished else one for one in every]
        every = [
            at.replace(RULE, one, 3) if unroll == 1 and index in lose else one.advanced(one.carried, 3)
            for index, one in enumerate(every)
        ]
    return every


@pytest.mark.parametrize("lose", [(), (1,), (0, 2, 5)])
def test_a_team_keeps_one_shape_and_restarts_together_whatever_is_lost(lose: tuple[int, ...]) -> None:
    at = trajectories()
    (every,) = at.start(RULE, COUNT, seed=1, which=range(COUNT))
    seen = set()
    for _ in range(40):
        every = lived(at, every, 2, lose)
        for first in range(0, COUNT, 3):
            team = every[first : first + 3]
            assert len({one.shape for one in team}) == 1
            assert len({one.finished for one in team}) == 1
            assert len({one.unroll([2], at.device).shape for one in team}) == 1
            seen.add(team[0].shape)
    assert len(seen) > 20
    members = every[:3]
    assert not torch.equal(members[0].carried["w1"], members[1].carried["w1"])
    assert not torch.equal(members[0].task.permutation, members[1].task.permutation)


def test_a_trajectory_depends_on_the_seed_and_its_place_alone() -> None:
    at = trajectories()
    (every,) = at.start(RULE, COUNT, seed=1, which=range(COUNT))
    (share,) = at.start(RULE, COUNT, seed=1, which=range(4, COUNT))
    for one, other in zip(lived(at, every, 9)[4:], lived(at, share, 9), strict=True):
        assert torch.equal(one.carried["w1"], other.carried["w1"])
        assert (one.position, one.length, one.shape) == (other.position, other.length, other.shape)


def test_every_turn_has_tasks_and_lengths_of_its_own_whatever_the_rank() -> None:
    at = trajectories()
    every = at.start(RULE, COUNT, seed=1, which=range(COUNT), turns=3)
    share = at.start(RULE, COUNT, seed=1, which=range(4, COUNT), turns=3)
    orders = {tuple(one.task.permutation.tolist()) for turn in every for one in turn}
    assert len(orders) == 3 * COUNT
    for whole, part in zip(every, share, strict=True):
        for one, other in zip(whole[4:], part, strict=True):
            assert torch.equal(one.carried["w1"], other.carried["w1"])
            assert one.length == other.length


def test_a_restored_trajectory_lives_on_as_if_nothing_had_been() -> None:
    at = trajectories()
    every = lived(at, at.start(RULE, COUNT, seed=2, which=range(COUNT))[0], 5)
    again = [at.restore(one.state_dict()) for one in every]
    for one, other in zip(lived(at, every, 12), lived(at, again, 12), strict=True):
        assert torch.equal(one.carried["w1"], other.carried["w1"])
        assert one.shape == other.shape
        assert torch.equal(*(each.unroll([2], at.device).views["unlabelled"] for each in (one, other)))


def test_shapes_stay_in_their_ranges_and_reach_their_ends() -> None:
    source, draw = mixture(), generator()
    shapes = [source.draw_shape(draw) for _ in range(600)]
    by_data = {index: [shape for shape in shapes if shape.dataset == index] for index in range(3)}
    # parts are equally likely: the first data set half of the time, the other two a quarter each
    assert [round(len(found) / 150) for found in by_data.values()] == [2, 1, 1]
    assert {shape.ways for shape in by_data[0]} == {3, 4, 5}
    assert {shape.ways for shape in by_data[1]} == {2}
    assert {shape.ways for shape in by_data[2]} == {3}
    assert {shape.inputs for shape in by_data[0]} == set(range(6, 21))
    assert {shape.inputs for shape in by_data[1]} == {5}
    assert {shape.shots for shape in shapes} == {2, 3, 4}
    for shape in shapes[:50]:
        task = source.draw(draw, shape)
        assert (task.dataset_index, task.ways, task.shots, task.inputs, task.points) == shape
        assert len(set(task.permutation.tolist())) == task.inputs
        assert len(task.episode(draw).support_x) == shape.ways * shape.shots


def test_inputs_that_are_kept_stay_in_order_without_a_permutation() -> None:
    source = TaskSource((data("wide", 4, 30),), 2, 1, 1, permute=False, inputs=(7, 7))
    kept = source.draw(generator()).permutation
    assert len(kept) == 7
    assert torch.equal(kept, kept.sort().values)


def test_what_varies_is_part_of_the_fingerprint() -> None:
    plain = {"datasets": (data("wide", 8, 30),), "ways": 4, "shots": 2, "queries": 2, "permute": True}
    varied: list[dict[str, object]] = [
        {},
        {"fewest_ways": 3},
        {"fewest_shots": 1},
        {"inputs": (3, 9)},
        {"inputs": (3, 8)},
        {"parts": (1,)},
    ]
    assert len({TaskSource(**plain, **more).fingerprint for more in varied}) == len(varied)


def test_trajectory_lengths_are_uniform_in_the_logarithm_and_grow() -> None:
    schedule, draw = TruncationSchedule((1, 2), (10, 1000), curriculum=100), generator()
    lengths = torch.tensor([schedule.draw_trajectory(draw, 100) for _ in range(3000)])
    assert lengths.min() >= 10
    assert lengths.max() <= 1000
    assert float((lengths < 100).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert {schedule.draw_trajectory(draw, 0) for _ in range(20)} == {10}
    halfway = [schedule.draw_trajectory(draw, 50) for _ in range(500)]
    assert 80 < max(halfway) <= 100
    assert {TruncationSchedule((1, 2), (7, 7)).draw_trajectory(draw, 0) for _ in range(20)} == {7}


def test_training_tasks_come_from_every_source_equally_often(tmp_path) -> None:
    rng = np.random.default_rng(0)
    tables = {"names": np.array(["a", "b", "tiny"]), "family": np.array(["a", "b", "c"])}
    for name, rows in (("a", 40), ("b", 40), ("tiny", 4)):
        tables |= {f"{name}/x": rng.random((rows, 3), dtype=np.float32), f"{name}/y": np.arange(rows) % 2}
    np.savez(tmp_path / "tables.npz", **tables)
    images = {"x": rng.random((60, 6, 6), dtype=np.float32), "y": np.arange(60) % 4}
    np.savez(tmp_path / "images.npz", **images)
    settings = {
        "sources": [f"npz:{tmp_path}/images.npz", f"npz:{tmp_path}/tables.npz"],
        "size": [6, 4],
        "ways": [3, 4],
        "shots": [1, 3],
        "queries": 3,
    }
    left_out = "tables.npz/a and so on: left out 1 of 3 data sets, which lack 2 classes of 4 examples"
    with pytest.warns(Notice, match=left_out):
        source = training_source({"tasks": settings})
    draw = generator()
    drawn = Counter(
        (task.dataset.name.rpartition("/")[2], task.inputs) for task in (source.draw(draw) for _ in range(400))
    )
    # images at two sizes; of the tables, the one with too few rows is not used
    assert set(drawn) == {("npz:images.npz", 36), ("npz:images.npz", 16), ("a", 3), ("b", 3)}
    assert all(60 < count < 140 for count in drawn.values())
    with pytest.warns(Notice, match="left out 1 of 2 data sets"):
        source = training_source({"tasks": settings | {"leave_out": ["a"]}})
    assert "a" not in {dataset.name.rpartition("/")[2] for dataset in source.datasets}
    with pytest.raises(
        ValueError, match=r"got tasks.leave_out 'tinny', expected a data set of .* \(did you mean tiny\?\)"
    ):
        training_source({"tasks": settings | {"leave_out": ["tinny"]}})
    with pytest.raises(ValueError, match=r"tables.npz/tiny: 0 of 2 classes have the 4 examples"):
        training_source({"tasks": settings | {"leave_out": ["a", "b"]}})


def test_where_labels_are_made_the_datas_own_leave_no_table_out(tmp_path) -> None:
    rng = np.random.default_rng(0)
    tables = {"names": np.array(["a", "b"]), "family": np.array(["a", "b"])}
    for name in ("a", "b"):
        tables |= {f"{name}/x": rng.random((40, 3), dtype=np.float32), f"{name}/y": np.arange(40) % 2}
    np.savez(tmp_path / "tables.npz", **tables)
    settings = {"sources": [f"npz:{tmp_path}/tables.npz"], "ways": 5, "shots": 1, "queries": 2}
    clusters = {"name": "clusters", "options": {"groups": 8, "partitions": 1}}
    assert len(training_source({"tasks": settings | {"labeller": clusters}}).datasets) == 2
    with pytest.raises(ValueError, match="none has 5 classes of 3 examples"):
        training_source({"tasks": settings})


def test_images_of_less_detail_are_as_wide_and_smoother_and_tables_stay(tmp_path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "images.npz", x=rng.random((60, 8, 8), dtype=np.float32), y=np.arange(60) % 4)
    np.savez(tmp_path / "table.npz", x=rng.random((60, 5), dtype=np.float32), y=np.arange(60) % 4)
    sources = [f"npz:{tmp_path}/images.npz", f"npz:{tmp_path}/table.npz"]
    settings = {"sources": sources, "size": 8, "detail": [4, 2], "ways": 3, "shots": 2, "queries": 2}
    source = training_source({"tasks": settings})
    assert source.parts == (3, 1)
    assert [dataset.inputs for dataset in source.datasets] == [64, 64, 64, 5]
    steps = [dataset.x.view(60, 8, 8).diff(dim=2).abs().mean() for dataset in source.datasets[:3]]
    assert steps[0] > 2 * steps[1] > 2 * steps[2] > 0
    for dataset in source.datasets[1:3]:
        torch.testing.assert_close(dataset.x.mean(1), source.datasets[0].x.mean(1), rtol=0, atol=0.1)
        assert torch.equal(dataset.y, source.datasets[0].y)
