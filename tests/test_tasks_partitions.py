"""Partitions without labels: clusters that are there are found, groups are drawn evenly, and labels are never seen."""

from dataclasses import replace

import pytest
import torch

from tasks.dataset import Dataset
from tasks.labellers.clusters import Clusters, cluster_groups, scaled_at_random
from tasks.labellers.contract import labelled
from tasks.labellers.hyperplanes import Hyperplanes, hyperplane_groups
from tasks.labellers.partitions import Partitions, grouped
from tasks.source import TaskSource


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(sizes: tuple[int, ...] = (30, 30, 30, 30)) -> tuple[Dataset, torch.Tensor]:
    """Examples around far-apart points, the embedding of which is themselves; classes are dealt out at random."""
    which = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    x = 20 * torch.eye(len(sizes), 6)[which] + torch.randn(len(which), 6, generator=seeded())
    y = torch.randperm(len(which), generator=seeded(1)) % 3
    return Dataset("blobs", x, y, None, ("a", "b", "c")), which


def test_clusters_that_are_there_are_found() -> None:
    data, which = blobs()
    groups = cluster_groups(data.x, 4, seeded(), 5)
    assert len({(int(a), int(b)) for a, b in zip(which, groups, strict=True)}) == 4


def test_small_groups_are_dropped_and_the_rest_are_classes() -> None:
    data, which = blobs((30, 4, 20, 10))
    made = grouped(data, which * 2, 10, "mine")  # odd groups have no examples at all
    assert made.class_names == ("0", "4", "6")
    assert torch.bincount(made.y).tolist() == [30, 20, 10]
    assert torch.equal(made.x, data.x[which != 1])


def test_groups_are_drawn_evenly_whatever_their_size() -> None:
    data, which = blobs((60, 10, 10, 10))
    source = TaskSource((grouped(data, which, 4, "mine"),), 2, 2, 2, permute=False)
    drawn = torch.cat([source.draw(seeded(seed)).classes for seed in range(600)])
    assert torch.bincount(drawn).tolist() == pytest.approx([300] * 4, abs=50)


@pytest.mark.parametrize("kind", [Clusters, Hyperplanes])
def test_the_true_labels_change_nothing(kind: type[Partitions]) -> None:
    data, _ = blobs()
    other = replace(data, y=data.y[torch.randperm(len(data), generator=seeded(3))])
    assert not torch.equal(other.y, data.y)
    first, second = (labelled(one, kind(partitions=3, groups=4), 2, seeded(5)) for one in (data, other))
    assert len(first) == 3
    assert [one.fingerprint for one in first] == [one.fingerprint for one in second]
    assert first[0].name == "blobs, partition 1"


def test_hyperplanes_cut_into_as_many_cells_as_a_power_of_two() -> None:
    x = 5 + torch.randn(4000, 5, generator=seeded())
    for wanted, cells in ((2, 2), (3, 4), (4, 4), (5, 8)):
        groups = hyperplane_groups(x, wanted, seeded(2), 20)
        assert len(groups.unique()) == cells
        assert sum(int(count) >= 20 for count in torch.bincount(groups)) > 0.75 * wanted
    halves = torch.bincount(hyperplane_groups(x, 2, seeded(7), 20)) / 4000
    assert float(halves[0]) == pytest.approx(0.5, abs=0.05)


def test_scaling_leaves_each_axis_to_itself() -> None:
    x = torch.randn(50, 7, generator=seeded())
    ratio = scaled_at_random(x, seeded(4)) / x
    torch.testing.assert_close(ratio, ratio[:1].expand(50, 7))
    assert float(ratio.min()) >= 0
    assert float(ratio.max()) <= 1
    assert len(ratio[0].unique()) == 7


def test_the_first_partition_is_of_the_embedding_as_it_is() -> None:
    data, which = blobs()
    (first,) = labelled(data, Clusters(partitions=1, groups=4), 2, seeded())
    assert torch.equal(first.x, data.x)
    assert len({(int(a), int(b)) for a, b in zip(which, first.y, strict=True)}) == 4


def test_what_cannot_be_partitioned_is_one_line() -> None:
    data, which = blobs()
    with pytest.raises(ValueError, match="got 121 clusters of 120 examples, expected 2 to 120"):
        cluster_groups(data.x, 121, seeded(), 1)
    with pytest.raises(
        ValueError, match=r"got 4 clusters of 120 examples, .* fewer than 60 in 20 attempts; lower their number"
    ):
        cluster_groups(data.x, 4, seeded(), 60)
    with pytest.raises(ValueError, match="got 4 cells of 120 examples"):
        hyperplane_groups(data.x, 4, seeded(), 60)
    with pytest.raises(ValueError, match="mine: 0 of 4 groups have 31 examples or more"):
        grouped(data, which, 31, "mine")
    for options, message in (
        ({"partitions": 0}, "got partitions=0, expected 1 or more"),
        ({"groups": 1}, "got groups=1, expected 2 or more"),
        ({"encoder": ""}, "got encoder='', expected inputs, an encoder file, a rule file or a rule's name"),
    ):
        with pytest.raises(ValueError, match=message):
            Clusters(**options)
    for bad in (data.x[:-1], data.x * float("nan"), data.x[:, 0]):
        with pytest.raises(ValueError, match=r"blobs: got an embedding .*, expected finite numbers \[120, axes\]"):
            labelled(data, Clusters(partitions=1, groups=4), 2, seeded(), lambda dataset, encoder, bad=bad: bad)


def test_the_embedding_is_that_of_the_encoder_and_asked_for_once_without_labels() -> None:
    data, _ = blobs()
    asked = []

    def features(dataset: Dataset, encoder: str) -> torch.Tensor:
        asked.append((encoder, dataset.labelled, dataset.classes))
        return dataset.x[:, :2]

    made = labelled(data, Clusters(partitions=2, groups=3, encoder="mine"), 2, seeded(), features)
    assert asked == [("mine", False, 1)]
    assert not any(one.labelled for one in made)
    plain = labelled(data, Clusters(partitions=2, groups=3), 2, seeded())
    assert made[0].fingerprint != plain[0].fingerprint
