"""Tasks that are whole sets, and the synthetic sets there are."""

import numpy as np
import pytest
import torch
from runs import Arguments, trainer_of
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from outer_loop.trajectories import problem_of
from tasks.data.clusters.families import FAMILIES, MOST
from tasks.data.clusters.placing import FEWEST, centres, sizes
from tasks.data.sources import load_source
from tasks.dataset import NOISE, Dataset, clusters_of
from tasks.set_source import SetSource, large_enough
from tasks.views import draw_views

NOISY = Dataset(
    "noisy",
    torch.arange(40.0)[:, None],
    torch.arange(40) % 4,
    None,
    ("a", "b", NOISE, "c"),
)


def source(*datasets: Dataset, ways: int = 9, points: tuple[int, int] = (8, 20), untold: float = 0.0) -> SetSource:
    return SetSource(datasets or (NOISY,), ways, 0, 0, False, points=points, untold=untold)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_set_is_part_of_a_data_set_with_noise_as_no_class() -> None:
    draw, counts = generator(), set()
    for _ in range(120):
        task = source().draw(draw)
        episode = task.episode(draw)
        counts.add(len(episode.query_y))
        assert len(episode.support_y) == 0
        rows = episode.query_x[:, 0].long()
        assert len(rows.unique()) == len(rows)
        classes = torch.tensor([0, 1, -1, 2])[rows % 4]  # the place in the data set, without noise
        order = torch.argsort(task.classes)
        assert torch.equal(torch.where(classes < 0, -1, order[classes.clamp_min(0)]), episode.query_y)
    assert counts == set(range(8, 21))


def test_more_classes_than_asked_for_are_left_out_with_their_examples() -> None:
    task = source(ways=2, points=(40, 40)).draw(generator())
    assert (task.ways, task.points, len(task.pool)) == (2, 30, 30)


def test_a_set_comes_back_from_its_state() -> None:
    sets = source(untold=0.5)
    for seed in range(6):
        task = sets.draw(generator(seed))
        again = sets.restore(task.state())
        assert (again.points, again.told, again.ways) == (task.points, task.told, task.ways)
        assert torch.equal(again.pool, task.pool)
        assert torch.equal(again.labels, task.labels)


def test_a_rule_is_told_the_number_of_clusters_as_often_as_asked() -> None:
    sets, draw = source(untold=0.4), generator()
    ways = [problem_of(sets.draw(draw), None, "batch").ways for _ in range(300)]
    assert set(ways) == {0, 3}
    assert 0.3 < ways.count(0) / 300 < 0.5
    problem = problem_of(source().draw(draw), None, "batch")
    assert problem.views[0][0] == "query_x"
    assert 8 <= problem.views[0][1][0] <= 20


def test_views_of_a_set_hold_its_points_and_no_labels() -> None:
    task = source().draw(generator())
    views, (episode,) = draw_views(task, ("query_x",), generator(1), steps=1, batch=2, episodes=1)
    assert list(views) == ["query_x"]
    assert torch.equal(views["query_x"][0], episode.query_x)


def test_what_cannot_be_a_set_is_said_in_one_line() -> None:
    one = Dataset("one", torch.zeros(9, 1), torch.zeros(9, dtype=torch.int64), None, ("a",))
    with pytest.raises(ValueError, match="noisy: 40 examples, expected points=50 or more"):
        source(points=(50, 60))
    with pytest.raises(ValueError, match="one: one class, expected two or more"):
        source(one)
    with pytest.raises(ValueError, match=r"got points=\[9, 3\], expected rising numbers of 2 or more"):
        source(points=(9, 3))
    with pytest.warns(UserWarning, match="left out 1 of 2 data sets"):
        assert large_enough([NOISY, one], 5) == [NOISY]
    with pytest.raises(ValueError, match="none has 50 examples of two classes"):
        large_enough([NOISY, one], 50)


@pytest.mark.parametrize("family", FAMILIES)
def test_families_draw_the_points_and_clusters_asked_for(family: str) -> None:
    for seed in range(8):
        draw = np.random.default_rng(seed)
        k = min(2 + seed % 4, MOST.get(family, 9))
        x, y = FAMILIES[family](draw, 90, 2 + seed, k)
        assert x.shape[0] == len(y) == 90
        assert np.isfinite(x).all()
        assert np.bincount(y).min() >= FEWEST
        assert len(np.bincount(y)) == k


def test_sizes_sum_up_and_centres_are_1_apart() -> None:
    for seed in range(10):
        draw = np.random.default_rng(seed)
        assert sum(sizes(draw, 60, 7)) == 60
        places = centres(draw, 5, 3)
        apart = np.linalg.norm(places[:, None] - places[None], axis=2)
        assert apart[np.triu_indices(5, 1)].min() == pytest.approx(1)


def test_synthetic_sets_are_the_same_each_time_and_split_by_set() -> None:
    parts = {split: load_source(f"clusters:rings,gaussians@{split}") for split in ("train", "valid", "test")}
    again = load_source("clusters:rings,gaussians@test", seed=7)
    assert [len(part) for part in parts.values()] == [960, 320, 320]
    assert len({one.name.partition("@")[0] for part in parts.values() for one in part}) == 1600
    assert [one.fingerprint for one in again] == [one.fingerprint for one in parts["test"]]
    noisy = [one for one in parts["test"] if NOISE in one.class_names]
    assert 0.08 < len(noisy) / 320 < 0.22
    for one in parts["test"]:
        assert len(clusters_of(one)) == len(one.class_names) - (NOISE in one.class_names)


def test_k_means_finds_clouds_and_no_rings() -> None:
    """What a learned clusterer is for."""
    found = {}
    for family in ("gaussians", "rings"):
        scores = []
        for one in load_source(f"clusters:{family}@valid")[:25]:
            known = np.array([one.class_names[place] != NOISE for place in one.y.tolist()])
            labels = KMeans(len(clusters_of(one)), n_init=3, random_state=0).fit_predict(one.x.numpy())
            scores.append(adjusted_rand_score(one.y.numpy()[known], labels[known]))
        found[family] = np.mean(scores)
    assert found["gaussians"] > 0.8
    assert found["rings"] < 0.3


def test_an_unknown_family_is_named_in_one_line() -> None:
    with pytest.raises(
        ValueError, match=r"clusters:ring: no family 'ring', expected all or gaussians.*did you mean rings"
    ):
        load_source("clusters:ring")


CLUSTERS = (
    *("rule=attention_clusterer", "rule.options={width: 8, heads: 2, blocks: 1, maps: 2}", "network={name: none}"),
    *(
        "network.options={}",
        "tasks.sources=[digits]",
        "tasks.points=[20, 30]",
        "tasks.untold=0.5",
        "outer.readout=pairwise",
    ),
    *(
        "inner.unroll=[1,1]",
        "inner.length=[1,1]",
        "inner.read_every=1",
        "evaluation.steps=1",
        "evaluation.read_every=1",
    ),
)


def test_a_clusterer_learns_in_the_trainer(tiny_config: Arguments) -> None:
    trainer = trainer_of(tiny_config("run", *CLUSTERS, "outer.learning_rate=0.01", "report.steps=null"))
    assert trainer.parts.use["steps"] == 1  # as in validation, where nobody says otherwise
    figures = [trainer.step() for _ in range(3)]
    assert all(np.isfinite(list(one.values())).all() for one in figures)


def test_what_clusters_needs_sets_and_others_have_none(tiny_config: Arguments) -> None:
    with pytest.raises(ValueError, match=r"config key tasks.points: got .*None, expected a number or \[fewest, most\]"):
        trainer_of(tiny_config("run", *CLUSTERS, "tasks.points=null"))
    with pytest.raises(ValueError, match=r"config key tasks.points: got .*, expected null for rule"):
        trainer_of(tiny_config("run", "tasks.points=30"))
    with pytest.raises(ValueError, match=r"config key evaluation.ways: got 4, expected null for rule"):
        trainer_of(tiny_config("run", *CLUSTERS, "evaluation.ways=4"))
    with pytest.raises(ValueError, match=r"report.sources: got .*, expected \[\] for rule attention_clusterer"):
        trainer_of(tiny_config("run", *CLUSTERS, "report.sources=[digits]"))
