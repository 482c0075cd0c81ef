"""Tasks of random examples as classes: what an episode holds, that labels are never seen, how often classes collide."""

from dataclasses import replace
from math import prod

import pytest
import torch

from tasks.dataset import Dataset
from tasks.labellers.contract import labelled
from tasks.labellers.fixed_instances import FixedInstances
from tasks.labellers.instances import Instances
from tasks.source import TaskSource
from tasks.task import Episode


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def data(classes: int = 6, examples: int = 5, side: int = 4) -> Dataset:
    n = classes * examples
    x = torch.rand(n, side * side, generator=seeded())
    names = tuple(str(c) for c in range(classes))
    return Dataset("d", x, torch.arange(n) % classes, (side, side), names)


def source(dataset: Dataset, augmentation: str = "identity", **settings: object) -> TaskSource:
    labeller = Instances(augmentation)
    datasets = labelled(dataset, labeller, 0, seeded())
    plain = {"ways": 5, "shots": 1, "queries": 1, "permute": False}
    return TaskSource(datasets, labeller=labeller, **(plain | settings))


def rows_of(dataset: Dataset, x: torch.Tensor) -> list[int]:
    return [int((dataset.x == one).all(1).nonzero()) for one in x]


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (1, 4), (3, 1), (3, 3), (2, 5)])
def test_every_class_is_its_own_examples_and_its_queries_come_from_them(shots: int, queries: int) -> None:
    dataset = data()
    episode = source(dataset, shots=shots, queries=queries).draw(seeded(1)).episode(seeded(2))
    support = rows_of(dataset, episode.support_x)
    assert len(set(support)) == 5 * shots
    label_of = dict(zip(support, episode.support_y.tolist(), strict=True))
    assert torch.bincount(episode.support_y).tolist() == [shots] * 5
    assert torch.bincount(episode.query_y).tolist() == [queries] * 5
    asked = rows_of(dataset, episode.query_x)
    assert [label_of[row] for row in asked] == episode.query_y.tolist()
    times = [asked.count(row) for row in support]
    assert max(times) - min(times) <= 1


def test_queries_are_augmented_before_the_inputs_are_permuted() -> None:
    dataset = data()
    plain, moved = (
        source(dataset, permute=True, augmentation=augmentation, queries=2).draw(seeded(1))
        for augmentation in ("identity", "cut_out=0.5")
    )
    assert torch.equal(plain.permutation, moved.permutation)
    back = plain.permutation.argsort()
    assert plain.episode(seeded(2)).support_x.equal(moved.episode(seeded(2)).support_x)
    cut = moved.episode(seeded(2)).query_x[:, back].view(-1, 4, 4) == 0
    for hole in cut:  # a rectangle in the image, not scattered pixels
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None])
    assert cut.any(2).any(1).all()


def test_what_is_redrawn_is_redrawn_in_queries_as_well() -> None:
    task = source(data(), redraw="brightness=0.5").draw(seeded(1))
    episode = task.episode(seeded(2))
    for drawn in (*episode.support_x, *episode.query_x):
        assert not (task.dataset.x == drawn).all(1).any()


def test_fixed_instances_keep_their_labels_from_task_to_task() -> None:
    dataset = data()
    found = []
    for seed in (3, 3, 4):
        labeller = FixedInstances("identity")
        made = TaskSource(labelled(dataset, labeller, 0, seeded(seed)), 5, 1, 2, False, labeller=labeller)
        for place in range(3):
            episode = made.draw(seeded(place)).episode(seeded(place))
            label_of = dict(zip(rows_of(dataset, episode.support_x), episode.support_y.tolist(), strict=True))
            assert [label_of[row] for row in rows_of(dataset, episode.query_x)] == episode.query_y.tolist()
            found.append(label_of)
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0].keys() != found[6].keys()


def test_the_true_labels_change_nothing() -> None:
    dataset = data()
    other = replace(dataset, y=dataset.y.flip(0))
    sources = [source(d, shots=2, augmentation="shift=0.3", permute=True) for d in (dataset, other)]
    assert sources[0].fingerprint == sources[1].fingerprint
    first, second = (s.draw(seeded(1)) for s in sources)
    for a, b in zip(first.episode(seeded(2)), second.episode(seeded(2)), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(first.unlabelled(seeded(3), 2, 8), second.unlabelled(seeded(3), 2, 8))


def test_a_task_comes_back_from_its_state() -> None:
    made = source(data(), shots=2, permute=True, augmentation="shift=0.3")
    task = made.draw(seeded(1))
    again = made.restore(task.state())
    assert isinstance(again.episode(seeded(4)), Episode)
    for a, b in zip(task.episode(seeded(4)), again.episode(seeded(4)), strict=True):
        assert torch.equal(a, b)


def distinct_classes_chance(ways: int, classes: int, examples: int) -> float:
    """The chance that ``ways`` random examples of ``classes`` classes with ``examples`` each are all of different ones.

    Π m(C − i) / (Cm − i) over i < N.
    """
    total = classes * examples
    return prod(examples * max(0, classes - i) / (total - i) for i in range(ways))


@pytest.mark.parametrize(("ways", "classes"), [(5, 6), (5, 40), (2, 3)])
def test_examples_are_of_different_classes_as_often_as_the_formula_says(ways: int, classes: int) -> None:
    dataset = data(classes, 5)
    task = source(dataset, ways=ways).draw(seeded())
    classes_of = {tuple(row.tolist()): int(label) for row, label in zip(dataset.x, dataset.y, strict=True)}
    generator, draws = seeded(9), 1500
    distinct = 0
    for _ in range(draws):
        drawn = {classes_of[tuple(row.tolist())] for row in task.episode(generator).support_x}
        distinct += len(drawn) == ways
    chance = distinct_classes_chance(ways, classes, 5)
    assert distinct / draws == pytest.approx(chance, abs=4 * (chance * (1 - chance) / draws) ** 0.5)


def test_the_chance_of_distinct_classes_at_known_places() -> None:
    assert distinct_classes_chance(5, 1200, 20) == pytest.approx(0.992, abs=5e-4)
    assert distinct_classes_chance(1, 3, 7) == 1
    assert distinct_classes_chance(4, 3, 7) == 0
    assert distinct_classes_chance(2, 2, 2) == pytest.approx(2 / 3)


def test_what_cannot_be_drawn_is_one_line() -> None:
    table = replace(data(), image_shape=None)
    assert source(table).draw(seeded()).episode(seeded()).query_x.shape == (5, 16)
    with pytest.raises(ValueError, match=r"d: a table or text, expected images for shift=0\.1"):
        source(table, augmentation="shift=0.1")
    with pytest.raises(ValueError, match="d: 30 examples, expected at least 35, for ways=5 of shots=7"):
        source(data(), shots=7)
    with pytest.raises(ValueError, match="got augmentation 'blur=1'"):
        source(data(), augmentation="blur=1")
    with pytest.raises(ValueError, match=r"d: got 7 shots and 1 queries, .* at most 6 shots of 5 classes"):
        source(data()).draw(seeded()).episode(seeded(), shots=7)
