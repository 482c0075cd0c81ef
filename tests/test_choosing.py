"""Choosing a clusterer by experience: its family, scores from inside, the readout, and risk minimisation."""

import numpy as np
import pytest
import torch
from runs import Arguments, trainer_of
from sklearn.metrics import adjusted_rand_score, calinski_harabasz_score, davies_bouldin_score, silhouette_score
from torch.func import vmap

from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.risk_minimisation import RiskMinimisation
from outer_loop.readouts.expected_score import ExpectedScore
from outer_loop.readouts.objective import Objective
from tasks.task import Episode
from update_rules.clustering.candidates import CANDIDATES, EXTRA, installed
from update_rules.clustering.choices import Choice, carried_out, choices
from update_rules.clustering.chosen_clusterer import ChosenClusterer
from update_rules.clustering.internal_scores import SCORES, geometry, internal_scores, rand_indices
from update_rules.clustering.points import rejoined, scaled
from update_rules.contract import Problem, State


def clouds(clusters: int = 3, each: int = 15, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clouds far apart in random order, and whose the points are."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(clusters), each)[draw.permutation(clusters * each)]
    return 6 * np.eye(max(clusters, 2))[labels] + 0.3 * draw.normal(size=(len(labels), max(clusters, 2))), labels


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_finds_clouds_that_are_apart(name: str) -> None:
    x, labels = clouds()
    found = carried_out(x, Choice(name, 3), 0)
    assert adjusted_rand_score(labels, found) == 1
    assert found.min() == 0
    assert set(found.tolist()) == {0, 1, 2}


def test_what_is_not_installed_is_left_out() -> None:
    assert set(CANDIDATES) <= set(installed()) <= {*CANDIDATES, *EXTRA}


def test_noise_joins_its_nearest_point() -> None:
    x = np.array([[0.0], [1.0], [5.0], [6.0]])
    assert rejoined(x, np.array([0, -1, 1, -1])).tolist() == [0, 0, 1, 1]
    assert rejoined(x, np.full(4, -1)).tolist() == [0, 0, 0, 0]


def test_outliers_stay_aside_and_then_join_the_nearest_cluster() -> None:
    """Two far points that single linkage would take for clusters of their own."""
    x, labels = clouds(2, 20)
    x = np.concatenate([x, [[30.0, 0.0], [0.0, 40.0]]])
    whole, parted = (carried_out(x, Choice("single", 2, share), 0) for share in (0.0, 0.05))
    assert adjusted_rand_score(labels, whole[:-2]) < 0.1
    assert adjusted_rand_score(labels, parted[:-2]) == 1
    assert parted[-2] == parted[np.flatnonzero(labels == 0)[0]]
    assert parted[-1] == parted[np.flatnonzero(labels == 1)[0]]


def test_the_family_names_what_there_is() -> None:
    for clusters in (0, 4):
        family = choices(clusters)
        assert len(set(family)) == len(family)
        assert {one.name for one in family} <= set(CANDIDATES)
        assert {one.clusters for one in family} == ({4} if clusters else set(range(2, 11)))
    assert str(Choice("ward", 3, 0.05)) == "ward into 3 without 5% of outliers"


def test_scores_from_inside_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(40, 3))
    found = [draw.integers(3, size=40), draw.integers(4, size=40)]
    scores = dict(zip(SCORES, internal_scores(geometry(x), found).T, strict=True))
    for place, labels in enumerate(found):
        assert scores["silhouette"][place] == pytest.approx(silhouette_score(x, labels))
        assert scores["calinski_harabasz"][place] == pytest.approx(np.log(calinski_harabasz_score(x, labels)) / 3)
        assert scores["davies_bouldin"][place] == pytest.approx(-np.log(davies_bouldin_score(x, labels)))
        assert scores["agreement"][place] == pytest.approx(adjusted_rand_score(*found))


def test_scores_of_the_right_partition_are_larger_than_of_a_wrong_one() -> None:
    x, labels = clouds(3, 20)
    scores = internal_scores(geometry(x), [labels, np.random.default_rng(1).permutation(labels)])
    better = dict(zip(SCORES, (scores[0] - scores[1]).tolist(), strict=True))
    for name in ("silhouette", "explained", "calinski_harabasz", "davies_bouldin", "near", "gap", "widest", "gaussian"):
        assert better[name] > 0, name


def test_scores_stay_finite_for_odd_partitions() -> None:
    for x in (np.zeros((6, 2)), np.arange(6.0)[:, None]):
        found = [np.zeros(6, np.int64), np.arange(6), np.array([0, 0, 0, 0, 0, 1])]
        assert np.isfinite(internal_scores(geometry(x), found)).all()


def test_rand_indices_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    found = [draw.integers(count, size=50) for count in (2, 3, 5, 1)]
    expected = [[adjusted_rand_score(one, other) for other in found] for one in found]
    np.testing.assert_allclose(rand_indices(found), expected, atol=1e-12)


def test_the_readout_takes_the_way_that_most_speaks_for() -> None:
    y = torch.tensor([0, 0, 1, 1, 2, -1])
    right, wrong = torch.tensor([2.0, 2, 0, 0, 1, 0]), torch.tensor([0.0, 1, 0, 1, 0, 1])
    readout = ExpectedScore()
    for says, expected in (((1.0, 0.0), 1.0), ((0.0, 1.0), adjusted_rand_score(y[:5], wrong[:5]))):
        outputs = torch.cat([torch.tensor(says)[:, None], torch.stack([right, wrong])], 1)
        reading = readout.read(None, y[:0], outputs, y, 3)
        assert float(reading.accuracy) == pytest.approx(expected, abs=1e-6)
        assert float(reading.loss) == pytest.approx(1 - expected, abs=1e-6)
        both = vmap(lambda one: readout.read(None, y[:0], one, y, 3))(torch.stack([outputs, outputs.flip(0)]))
        assert both.accuracy[0] == reading.accuracy == both.accuracy[1]


def problem_of(x: np.ndarray, ways: int) -> Problem:
    return Problem(x.shape[1], None, ways, views=(("query_x", x.shape),))


def clustered(rule: ChosenClusterer, x: np.ndarray, ways: int) -> tuple[Problem, State]:
    """The State after a step on ``x``, and its problem."""
    problem, seen = problem_of(x, ways), torch.from_numpy(x).float()
    return problem, rule.step(problem, rule.init_state(problem, torch.Generator()), {"query_x": seen}, "train")


def unroll_of(rule: ChosenClusterer, x: np.ndarray, y: np.ndarray, ways: int) -> TruncatedUnroll:
    seen, labels = torch.from_numpy(x).float(), torch.from_numpy(y)
    problem, draw = problem_of(x, ways), torch.Generator().manual_seed(0)
    episode = Episode(seen[:0], labels[:0], seen, labels)
    state = rule.init_state(problem, draw)
    return TruncatedUnroll(problem, state, {"query_x": seen[None]}, (1,), (episode,), ways, draw)


def strips(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two long thin clouds side by side, which single linkage tells apart and k-means does not."""
    draw = np.random.default_rng(seed)
    labels = np.arange(160) % 2
    return np.stack([draw.uniform(-5, 5, 160), 1.5 * labels + 0.05 * draw.normal(size=160)], 1), labels


def estimated(sets: list[tuple[np.ndarray, np.ndarray]], *, rounds: int = 2, shuffled: bool = False) -> ChosenClusterer:
    """A rule after ``rounds`` outer steps on ``sets``, told how many clusters there are."""
    rule = ChosenClusterer()
    estimator = RiskMinimisation(shuffled).configured(Objective(ExpectedScore()))
    memory: dict[str, torch.Tensor] = {}
    for _ in range(rounds):
        unrolls = [unroll_of(rule, x, y, 2) for x, y in sets]
        found = estimator.estimate(rule, dict(rule.named_parameters()), unrolls, memory)
        assert found.kept == len(sets)
        assert not any(bool(value.any()) for value in found.direction.values())
        memory = found.memory
        with torch.no_grad():
            for name, value in estimator.chosen(rule, memory).items():
                rule.get_parameter(name).copy_(value)
    return rule


def test_the_empirical_minimiser_is_the_true_one() -> None:
    """On strips the way that is always best is found, and taken on new ones."""
    rule = estimated([strips(seed) for seed in range(4)])
    merits = rule.get_parameter("told_merits").detach()
    family = choices(2)
    by_name = {str(one): float(merits[place]) for place, one in enumerate(family)}
    for place, (name, merit) in enumerate(by_name.items()):
        scores = [adjusted_rand_score(y, carried_out(scaled(x), family[place], 0)) for x, y in map(strips, range(4))]
        if not name.startswith(("kmeans", "gaussian", "spectral", "hdbscan")):  # which draw, or find three
            assert merit == pytest.approx(np.mean(scores), abs=1e-5), name
    assert by_name["single into 2"] > 0.99 > by_name["kmeans into 2"]
    x, labels = strips(9)
    problem, state = clustered(rule, x, 2)
    assert adjusted_rand_score(labels, rule.partition(problem, state)) > 0.99
    assert " into 2" in rule.reason(problem, state)
    assert rule.describe()["told_merit"] > 0.99


def test_a_mean_of_memories_teaches_what_their_sum_does() -> None:
    """Ranks go on from a mean."""
    rule = estimated([strips(0), strips(1)], rounds=1)
    memory = {"told_taken": torch.tensor([2.0, 4.0]), "told_counted": torch.tensor([4.0, 4.0])}
    memory |= {"told_gram": torch.eye(3), "told_cross": torch.ones(3)}
    half = {name: value / 2 for name, value in memory.items()}
    assert torch.equal(rule.learned(memory)["told_merits"], rule.learned(half)["told_merits"])


def test_shuffled_scores_are_those_of_other_sets() -> None:
    """Where one set is easy for single linkage and the other is not, it gets the score of the other."""
    sets = [strips(0), clouds(2, 40)]
    plain, shuffled = (estimated(sets, rounds=1, shuffled=shuffled) for shuffled in (False, True))
    merits = [rule.get_parameter("told_merits").detach() for rule in (plain, shuffled)]
    alone = estimated(sets[:1], rounds=1, shuffled=True)
    assert torch.equal(alone.get_parameter("told_merits"), ChosenClusterer().get_parameter("told_merits"))
    ways = len(choices(2))
    torch.testing.assert_close(merits[0][:ways], merits[1][:ways])  # a way that is always taken has the same mean
    assert not torch.allclose(merits[0][ways:], merits[1][ways:])


def test_an_unknown_number_of_clusters_is_chosen_too() -> None:
    x, labels = clouds(4, 12)
    rule = ChosenClusterer()
    problem, state = clustered(rule, x, 0)  # untrained
    assert adjusted_rand_score(labels, rule.partition(problem, state)) == 1
    assert "which has the largest silhouette" in rule.reason(problem, state)


def test_the_scale_of_points_does_not_matter() -> None:
    """In training sets come as they are, later on one scale."""
    x, _ = strips(3)
    rule = ChosenClusterer()
    _, plain = clustered(rule, x, 2)
    _, larger = clustered(rule, 8 * x + 64, 2)
    assert torch.equal(plain["labels"], larger["labels"])
    torch.testing.assert_close(plain["scores"], larger["scores"], rtol=0, atol=1e-3)


CHOOSE = (
    *(
        "rule=chosen_clusterer",
        "rule.options={}",
        "network={name: none}",
        "network.options={}",
        "tasks.sources=[digits]",
    ),
    *("tasks.points=[20, 24]", "tasks.ways=3", "outer.readout=expected_score"),
    *("outer.estimator=risk_minimisation",),
    *("outer.readout.options={}", "outer.estimator.options={}", "inner.unroll=[1,1]", "inner.length=[1,1]"),
    *("inner.read_every=1", "evaluation.steps=1", "evaluation.read_every=1", "outer.tasks_per_step=2"),
)


def test_a_run_goes_through_the_trainer_and_is_the_same_to_the_bit(tiny_config: Arguments) -> None:
    whole = trainer_of(tiny_config("whole", *CHOOSE))
    for _ in range(2):
        whole.step()
    assert any(bool(parameter.any()) for parameter in whole.state.rule.parameters())
    again = trainer_of(tiny_config("whole", *CHOOSE))
    for _ in range(2):
        again.step()
    for name, value in whole.state.rule.named_parameters():
        assert torch.equal(value, again.state.rule.get_parameter(name)), name


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["outer.readout=pairwise"], "outer.readout.name: got 'pairwise', expected a readout of choices, which rule"),
        (
            ["outer.estimator=truncated_backprop"],
            "outer.estimator.name: got 'truncated_backprop', expected one without a meta-gradient: expected_score lets",
        ),
        (
            ["rule=attention_clusterer", "outer.readout=pairwise"],
            "outer.estimator.name: got 'risk_minimisation', expected an estimator of pairs, which rule attention_clus",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(tiny_config: Arguments, more: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer_of(tiny_config("run", *CHOOSE, *more))
