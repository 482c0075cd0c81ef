"""Clusters in data of one's own: the script, and the scikit-learn clusterers behind it."""

import csv
import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.notice import Notice
from evaluation.clusterings import candidate_method, judge, score
from evaluation.set_measures import apart, order_agreement, pairs_right, partition_pairs, rule_pairs
from evaluation.statistics import RAND, bootstrap_mean, joined_seeds
from experiment.report.store import Store, unit_of
from inner_loop.clusterers import ChosenClusterer, LearnedClusterer, RuleClusterer
from inner_loop.clustering import MOST
from tasks.data.reference_sets import ReferenceSet, read_suite
from unsupervised_update_rules.commands import cluster as script
from unsupervised_update_rules.commands import evaluate
from update_rules.clustering.chosen_clusterer import ChosenClusterer as ChosenRule
from update_rules.clustering.points import nearest
from update_rules.local.hebbian import Hebbian
from update_rules.registry import make_rule
from update_rules.rule_file import save_rule

SMALL = make_rule("attention_clusterer", width=8, heads=2, blocks=1, maps=2)
USE = {
    "network": {"name": "none", "options": {}},
    "steps": 1,
    "normalisation": "batch",
    "readout": {"name": "pairwise", "options": {}},
}


def written(path: Path) -> str:
    """SMALL in a file."""
    save_rule(path, SMALL, {}, USE)
    return str(path)


@pytest.fixture
def rule_file(tmp_path: Path) -> str:
    return written(tmp_path / "clusterer.safetensors")


@parametrize_with_checks(
    [
        LearnedClusterer(random_state=0),
        LearnedClusterer(3, random_state=0),
        ChosenClusterer(random_state=0),
        ChosenClusterer(3, random_state=0),
    ]
)
def test_they_are_clusterers_of_scikit_learn(estimator: RuleClusterer, check: object) -> None:
    check(estimator)  # type: ignore[operator]


def test_a_chooser_is_one_too() -> None:
    x = load_iris().data
    found = ChosenClusterer(3, rule=ChosenRule(), random_state=0).fit(x)
    assert set(found.labels_.tolist()) == {0, 1, 2}
    assert found.reason_.endswith("which has the largest silhouette")
    assert (found.predict(x) == found.labels_).all()
    assert (ChosenClusterer(3, rule=ChosenRule(), random_state=0).fit_predict(x) == found.labels_).all()


def test_rows_seen_later_join_the_nearest_cluster() -> None:
    x = np.array([[0.0], [1.0], [9.0], [10.0]])
    found = LearnedClusterer(2, rule=SMALL, random_state=0).fit(x)
    assert (found.predict(np.array([[0.2], [9.9]])) == found.labels_[[0, 3]]).all()
    assert nearest(x, np.array([5, 6, 7, 8]), np.array([[8.9], [0.6]])).tolist() == [7, 6]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_clusters": 5}, "got n_clusters=5 for 4 rows, expected None or 1 to 4"),
        ({"n_clusters": 0}, "got n_clusters=0 for 4 rows"),
        ({"n_clusters": 2.5}, r"got n_clusters=2\.5 for 4 rows"),
        ({"standardise": "yes"}, "got standardise='yes', expected True, False or 'auto'"),
        ({"rule": Hebbian()}, "rule hebbian gives features, which LearnedClusterer does not take"),
    ],
)
def test_what_cannot_be_clustered_is_said_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedClusterer(**{"rule": SMALL, **given}).fit(np.arange(8.0).reshape(4, 2))


def test_one_cluster_and_constant_columns_are_fine() -> None:
    x = np.stack([np.arange(6.0), np.full(6, 3.0)], 1)
    assert not LearnedClusterer(1, rule=SMALL).fit_predict(x).any()
    assert len(LearnedClusterer(2, rule=SMALL).fit_predict(x)) == 6
    assert len(LearnedClusterer(rule=SMALL).fit_predict(np.zeros((5, 2)))) == 5


def table(path: Path, rows: int = 12) -> str:
    draw = np.random.default_rng(0)
    lines = [
        f"{5 * (place % 2) + 0.1 * draw.normal():.4f},{draw.normal():.4f},{'ab'[place % 2]}" for place in range(rows)
    ]
    path.write_text("\n".join(["size,weight,kind", *lines]) + "\n", encoding="utf-8")
    return f"csv:{path}"


def test_what_was_found_and_what_it_took_is_written_where_asked(tmp_path: Path, rule_file: str) -> None:
    out = tmp_path / "found.json"
    given = ["--data", "sklearn:iris", "--with", "learned", "--rule", rule_file, "--clusters", "3"]
    assert script.main([*given, "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["meta"]["command"].startswith("python scripts/cluster.py --data sklearn:iris")
    clustered = found["clustered"]
    assert (clustered["rows"], clustered["columns"], clustered["method"]) == (150, 4, "learned")
    assert 1 <= clustered["clusters"] <= 3
    assert -1 <= clustered["adjusted_rand_index"] <= 1
    assert 0 < clustered["seconds"] < 60
    store = Store()
    store.add("found.json", found)
    for place in ("seconds", "MiB"):
        of = {"method": "learned", "source": place}
        answer = store.ask(of)
        assert answer is not None
        assert 100 * answer.mean.value == pytest.approx(clustered["seconds" if place == "seconds" else "peak_mib"])
        assert unit_of(of) == place


def test_the_script_writes_a_cluster_for_each_row(
    tmp_path: Path, rule_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, plot = tmp_path / "clusters.csv", tmp_path / "clusters.png"
    data = table(tmp_path / "table.csv")
    argv = ["--data", data, "--label", "kind", "--clusters", "2", "--out", str(out), "--plot", str(plot)]
    for more in (["--with", "learned", "--rule", rule_file], ["--with", "ward"]):
        assert script.main([*argv, *more]) == 0
        said = capsys.readouterr().out
        assert f"2 clusters by {more[1]}" in said
        assert "adjusted Rand index beside the labels of 12 rows" in said
        rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
        assert [row["row"] for row in rows] == [str(place) for place in range(1, 13)]
        assert {row["cluster"] for row in rows} == {"0", "1"}
        with Image.open(plot) as picture:
            assert picture.size[0] > 200


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--with", "wards"], "got --with 'wards', expected learned, chosen.*did you mean ward"),
        (["--with", "ward"], "got --with ward without --clusters"),
        (["--with", "ward", "--clusters", "2", "--rule", "x"], "got --rule with --with ward"),
        (["--with", "ward", "--clusters", "99"], "got --clusters 99 for 12 rows, expected at most as many"),
    ],
)
def test_a_wrong_command_is_one_line_and_nothing_is_written(tmp_path: Path, more: list[str], message: str) -> None:
    out = tmp_path / "clusters.csv"
    with pytest.raises(ValueError, match=message):
        script.main(["--data", table(tmp_path / "table.csv"), "--label", "kind", "--out", str(out), *more])
    assert not out.exists()


def test_one_row_is_refused_in_one_line(tmp_path: Path, rule_file: str) -> None:
    with pytest.raises(ValueError, match="one row, expected two or more"):
        script.main(
            ["--data", table(tmp_path / "one.csv", 1), "--label", "kind", "--with", "learned", "--rule", rule_file]
        )


def suite(path: Path) -> str:
    """A file in the suite's conventions: two sets of two batteries, the first with two references and noise."""
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=(10, 2)) * 0.1 + middle for middle in ((0, 0), (5, 0), (0, 5))])
    y0 = np.repeat([1, 2, 3], 10)
    y0[0] = 0
    arrays = {
        "first/x": x,
        "first/y0": y0,
        "first/y1": np.repeat([1, 1, 2], 10),
        "second/x": x,
        "second/y0": np.repeat([1, 2, 1], 10),
    }
    np.savez(path, names=np.array(["first", "second"]), battery=np.array(["one", "other"]), **arrays)
    return f"clustering:{path}"


def test_a_suite_is_read_as_its_author_means_it(tmp_path: Path) -> None:
    first, second = read_suite(suite(tmp_path / "suite.npz"))
    assert (first.name, first.part, second.part) == ("first", "suite.npz#one", "suite.npz#other")
    assert [labels.max() for labels in first.references] == [2, 1]
    assert first.references[0][:2].tolist() == [-1, 0]
    np.savez(
        tmp_path / "bad.npz",
        names=np.array(["a"]),
        battery=np.array(["b"]),
        **{"a/x": np.zeros((3, 1)), "a/y0": np.zeros(2)},
    )
    with pytest.raises(ValueError, match=r"bad\.npz: a has x \[3, 1\] and labels \[\[2\]\], expected finite x"):
        read_suite(f"clustering:{tmp_path / 'bad.npz'}")


def test_a_score_is_the_best_over_references_each_at_its_number(tmp_path: Path) -> None:
    """Noise is clustered, and left out of the score."""
    first, _ = read_suite(suite(tmp_path / "suite.npz"))
    asked = []

    def method(x: np.ndarray, clusters: int, generator: torch.Generator) -> np.ndarray:
        asked.append((clusters, len(x)))
        return candidate_method("ward")(x, clusters, generator)

    assert score(method, first, torch.Generator()) == 1
    assert asked == [(3, 30), (2, 30)]
    wrong = ReferenceSet("a", "p", first.x, (np.arange(30) % 2,))
    assert score(method, wrong, torch.Generator()) < 0.1
    asked.clear()
    score(lambda x, k, generator: method(x, k or 3, generator), first, torch.Generator(), told=False)
    assert asked == [(3, 30)]


def test_every_method_sees_the_same_sets_and_streams(tmp_path: Path) -> None:
    sets = read_suite(suite(tmp_path / "suite.npz"))
    seen: dict[str, list[int]] = {"a": [], "b": []}

    def noting(name: str):
        def method(x: np.ndarray, clusters: int, generator: torch.Generator) -> np.ndarray:
            seen[name].append(int(torch.randint(1000, (), generator=generator)))
            return np.arange(len(x)) % clusters

        return method

    entries = judge({name: partial(score, noting(name)) for name in seen}, sets, seed=3)
    assert seen["a"] == seen["b"]
    assert {entry["source"] for entry in entries} == {"suite.npz#one", "suite.npz#other"}
    assert {entry["readout"] for entry in entries} == {RAND}
    assert len({entry["drawn"] for entry in entries}) == 2


def test_evaluate_judges_clusterers_on_a_suite(
    tmp_path: Path, rule_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--data", suite(tmp_path / "suite.npz"), "--rule", rule_file, "--json", str(tmp_path / "out.json")]
    plot = tmp_path / "plot.png"
    assert evaluate.main([*argv, "--baselines", "ward", "untrained_rule", "--plot", str(plot)]) == 0
    assert plot.stat().st_size > 1000
    with pytest.raises(ValueError, match="got --ablate with whole sets"):
        evaluate.main([*argv, "--ablate"])
    said = capsys.readouterr().out
    assert "adjusted Rand index × 100" in said
    assert "suite.npz#other" in said
    untold = ["--data", "clusters:rings@test", "--tasks", "2", "--rule", rule_file, "--untold"]
    assert evaluate.main([*untold, "--baselines", "untrained_rule"]) == 0
    with pytest.raises(ValueError, match="got --baselines ward with --untold, expected untrained_rule, none: it has"):
        evaluate.main([*untold, "--baselines", "ward"])
    with pytest.raises(ValueError, match="got --untold or --measure with few-shot tasks"):
        evaluate.main(["--data", "digits", "--untold"])
    with pytest.raises(
        ValueError, match=r"unknown clusterer 'warp', expected untrained_rule, kmeans.*did you mean ward"
    ):
        evaluate.main([*argv, "--baselines", "warp"])
    save_rule(tmp_path / "hebbian.safetensors", Hebbian(), {})
    with pytest.raises(ValueError, match="rule hebbian does not cluster, expected rules that do"):
        evaluate.main(["--data", suite(tmp_path / "suite.npz"), "--rule", str(tmp_path / "hebbian.safetensors")])


def test_agreement_between_two_orders_is_1_only_where_order_does_not_matter(tmp_path: Path) -> None:
    first, second = read_suite(suite(tmp_path / "suite.npz"))
    ward = candidate_method("ward")
    for one in (first, second):
        assert order_agreement(ward, one, torch.Generator()) == 1
        assert abs(order_agreement(lambda x, k, _: np.arange(len(x)) * k // len(x), one, torch.Generator())) < 0.3


def test_pairs_told_right_are_a_share_of_pairs_that_count() -> None:
    """Of four points in two clusters, and one of none, two pairs of six are together."""
    one = ReferenceSet("a", "p", np.array([[0.0], [0.1], [5.0], [5.1], [9.0]]), (np.array([0, 0, 1, 1, -1]),))
    ward = partition_pairs(candidate_method("ward"))
    assert pairs_right(apart, one, torch.Generator()) == pytest.approx(4 / 6)
    assert pairs_right(lambda x, k, g: ~apart(x, k, g), one, torch.Generator()) == pytest.approx(2 / 6)
    assert pairs_right(ward, one, torch.Generator()) == 1
    rule = make_rule("pair_similarity", units=[], sees="distance")
    with torch.no_grad():
        for name, value in {"network.0.weight": -1.0, "network.0.bias": -1.0}.items():
            rule.get_parameter(name).fill_(value)
    assert pairs_right(rule_pairs(rule, 1), one, torch.Generator()) == 1


def test_evaluate_takes_other_measures(tmp_path: Path, rule_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--data", suite(tmp_path / "suite.npz"), "--rule", rule_file]
    for measure, names in (("order", ["ward"]), ("pairs", ["ward", "apart", "untrained_rule"])):
        path = tmp_path / f"{measure}.json"
        assert evaluate.main([*argv, "--measure", measure, "--baselines", *names, "--json", str(path)]) == 0
        results = json.loads(path.read_text(encoding="utf-8"))
        assert {row["readout"] for row in results["rows"]} == {measure}
        assert {row["method"] for row in results["rows"]} == {"rule", *names}
    said = capsys.readouterr().out
    assert "adjusted Rand index between two orders of points × 100" in said
    assert "share of pairs told right × 100" in said
    with pytest.raises(ValueError, match="unknown clusterer 'apart'"):
        evaluate.main([*argv, "--baselines", "apart"])


def test_classes_of_minus_one_and_one_are_both_compared_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.concatenate([np.zeros((5, 2)), np.ones((6, 2))]) + 0.01 * np.arange(11)[:, None]
    np.savez(tmp_path / "two.npz", x=x, y=np.repeat([-1, 1], [5, 6]))
    np.savez(tmp_path / "some.npz", x=x, y=np.repeat([0, 1, -1, 2], [5, 4, 1, 1]))
    np.savez(tmp_path / "noise.npz", x=x, y=np.repeat(["a", "b", "noise"], [5, 4, 2]))
    for name, rows in (("two", 11), ("some", 10), ("noise", 9)):
        noticed = pytest.warns(Notice, match="1 of 11 examples are taken as unlabelled")
        with noticed if name == "some" else nullcontext():
            assert script.main(["--data", f"npz:{tmp_path / name}.npz", "--with", "ward", "--clusters", "2"]) == 0
        assert f"beside the labels of {rows} rows" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["learned", "chosen", "ward", "spectral", "kmeans"])
def test_equal_rows_are_one_cluster_and_few_rows_are_enough(
    tmp_path: Path, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.repeat(np.array([[0.0, 1.0], [2.0, 5.0]]), 6, 0)
    np.savez(tmp_path / "two.npz", x=rows)
    np.savez(tmp_path / "few.npz", x=np.arange(12.0).reshape(6, 2) ** 2)
    assert script.main(["--data", f"npz:{tmp_path}/two.npz", "--with", method, "--clusters", "4"]) == 0
    said = capsys.readouterr().out
    assert f"2 clusters by {method}, of 4 asked for" in said
    assert "rows of each: 6, 6" in said
    assert script.main(["--data", f"npz:{tmp_path}/few.npz", "--with", method, "--clusters", "6"]) == 0
    assert "rows of each: 1, 1, 1, 1, 1, 1" in capsys.readouterr().out


def test_small_tables_are_clustered_where_nobody_says_how_many(capsys: pytest.CaptureFixture[str]) -> None:
    for rows in (2, 3, 10):
        found = ChosenClusterer(rule=ChosenRule(), random_state=0).fit_predict(np.arange(float(rows))[:, None] ** 2)
        assert len(found) == rows
    assert not ChosenClusterer(rule=ChosenRule()).fit_predict(np.ones((20, 2))).any()


def test_empty_cells_are_filled_and_are_no_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where cells are empty tells nothing of clusters; an input that said so would weigh as much as others."""
    draw = np.random.default_rng(0)
    x = 8.0 * (np.arange(60) % 3) + 0.1 * draw.normal(size=60)
    lines = [f"{a},{a},{a},{a},{'' if place < 3 else a},c{place % 3}" for place, a in enumerate(x.round(3).tolist())]
    (tmp_path / "gaps.csv").write_text("\n".join(["a,b,c,d,e,class", *lines]) + "\n", encoding="utf-8")
    assert script.main(["--data", f"csv:{tmp_path}/gaps.csv", "--with", "ward", "--clusters", "3"]) == 0
    assert "labels of 60 rows: 1.000" in capsys.readouterr().out


def test_rows_beyond_what_a_rule_sees_are_told_of() -> None:
    x = np.random.default_rng(0).normal(size=(MOST + 50, 2))
    found = LearnedClusterer(2, rule=SMALL, random_state=0).fit(x)
    assert found.reason_ == f"{MOST} rows were looked at, which the others joined"
    with pytest.raises(ValueError, match=f"got {MOST + 1} clusters, expected at most {MOST}, as many as points are"):
        LearnedClusterer(MOST + 1, rule=SMALL).fit(x)


def test_very_small_and_large_numbers_cluster_alike() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2)) + 4 * (np.arange(30) % 2)[:, None]
    labels = [LearnedClusterer(2, rule=SMALL, standardise=False).fit_predict(size * x) for size in (1.0, 1e-200, 1e200)]
    assert (labels[0] == labels[1]).all()
    assert (labels[0] == labels[2]).all()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"names": np.array([], str), "battery": np.array([], str)}, "0 names that differ and 0 batteries"),
        ({"names": np.array(["a", "a"]), "battery": np.array(["b", "b"])}, "1 names that differ and 2 batteries"),
        ({"a/y0": np.array([1.0, np.nan, 2.0])}, "expected finite x .* and labels"),
        ({"a/y0": np.array([1.5, 1.0, 2.0])}, "labels .n. of whole numbers"),
        ({"a/y0": np.zeros(3)}, "labels .n. of whole numbers"),
        ({"a/x": np.zeros((1, 2)), "a/y0": np.ones(1)}, "of 2 rows or more"),
    ],
)
def test_files_that_are_no_suite_are_refused(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    whole = {"names": np.array(["a"]), "battery": np.array(["b"]), "a/x": np.eye(3), "a/y0": np.array([1, 2, 0])}
    np.savez(tmp_path / "suite.npz", **{**whole, **arrays})
    with pytest.raises(ValueError, match=message):
        read_suite(f"clustering:{tmp_path}/suite.npz")


def test_options_of_few_shot_tasks_are_refused_with_whole_sets(tmp_path: Path) -> None:
    argv = ["--data", "clusters:rings@test", "--tasks", "2", "--baselines", "ward"]
    for option in (["--swapped", "query_x"], ["--ways", "5"], ["--redraw", "rotate=0.1"], ["--fixed-classes"]):
        with pytest.raises(ValueError, match=f"got {option[0]} with whole sets, expected it with few-shot tasks alone"):
            evaluate.main([*argv, *option])


def test_one_set_has_no_interval(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--data", "sklearn:iris", "clusters:rings@test", "--tasks", "2", "--rule", written(tmp_path / "rule")]
    assert evaluate.main([*argv, "--baselines", "ward", "--json", str(tmp_path / "out.json")]) == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [row["ci95"] is None for row in rows] == [row["source"] == "sklearn:iris" for row in rows]


def test_a_bootstrap_is_over_sets_and_seeds_are_one() -> None:
    draw = np.random.default_rng(0)
    values = draw.normal(size=400).tolist()
    mean = bootstrap_mean(values)
    assert mean.value == pytest.approx(np.mean(values))
    assert mean.ci95 == pytest.approx(1.96 * np.std(values) / 20, rel=0.1)
    assert joined_seeds(RAND, [[0.0, 1.0], [1.0, 0.0]]) == [0.5, 0.5]
    assert joined_seeds("ridge", [[0.0, 1.0], [1.0, 0.0]]) == [0, 1, 1, 0]
