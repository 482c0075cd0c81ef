"""The store of results: pairing over files by the identity of tasks, names, refusals, files without single tasks."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluation.lineup import rule_label
from evaluation.statistics import mean_over_tasks, share_of_lead
from experiment.report.store import Store, read
from unsupervised_update_rules.commands import evaluate
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import save_rule

SIZES = {"tasks": 3, "steps": 2, "hidden": 6, "outputs": 4, "batch": 8, "size": 5, "queries": 2}
SMALL = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]
AT = {"source": "digits", "ways": 10, "shots": 10, "readout": "ridge"}
RANDOM = "random_network on 6 relu"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a rule and of baselines, evaluated apart, and of two sweeps."""
    folder = tmp_path_factory.mktemp("results")
    rule = folder / "mine.safetensors"
    save_rule(rule, Hebbian(), {"seed": 0})
    by_name = {
        "baselines": ["--baselines", "raw", "pca", "random_network", "--shots", "1", "10", "--seeds", "0", "1"],
        "rule": ["--rule", str(rule), "--baselines", "untrained_rule", "random_network", "--shots", "1", "10"],
        "steps": ["--rule", str(rule), "--baselines", "random_network", "--sweep", "steps", "--values", "0.5", "2"],
        "steps_between": ["--rule", str(rule), "--baselines", "none", "--sweep", "steps", "--values", "1"],
        "activation": ["--rule", str(rule), "--baselines", "none", "--sweep", "activation", "--values", "tanh", "relu"],
    }
    for name, words in by_name.items():
        assert evaluate.main(["--data", "digits", *SMALL, *words, "--json", str(folder / f"{name}.json")]) == 0
    return folder


def accuracies(path: Path, method: str, **wanted: Any) -> list[float]:
    """The accuracies of the only entry of the file at ``path`` for ``method`` and what else is ``wanted``."""
    entries = json.loads(path.read_text())["per_task"]
    (one,) = (o for o in entries if all(o[key] == value for key, value in {"method": method, **wanted}.items()))
    return one["accuracies"]


def test_a_rule_is_paired_with_what_was_evaluated_elsewhere(results: Path) -> None:
    store = read(results, ["*.json"])
    mine, raw = (
        accuracies(results / f"{n}.json", m, seed=0, shots=10) for n, m in (("rule", "rule"), ("baselines", "raw"))
    )
    lead = store.ask({"method": "mine", "minus": "raw", **AT})
    assert lead is not None
    assert lead.mean == pytest.approx(mean_over_tasks([one - other for one, other in zip(mine, raw, strict=True)]))
    assert (lead.tasks, sorted(lead.files)) == (3, ["baselines.json", "rule.json"])  # of the one seed in common
    both = store.ask({"method": "raw", **AT})
    assert both is not None
    assert both.tasks == 6
    pooled = raw + accuracies(results / "baselines.json", "raw", seed=1, shots=10)
    assert both.mean == pytest.approx(mean_over_tasks(pooled))
    assert store.ask({"method": "raw", "seed": 0, **AT}).mean == pytest.approx(mean_over_tasks(raw))
    assert store.ask({"method": "mine, untrained", **AT}) is not None
    assert store.ask({"method": "nothing", **AT}) is None
    assert store.made["rule.json"][0].startswith("python scripts/evaluate.py --data digits")


def test_several_trainings_of_a_method_are_told_over_tasks_and_trainings(results: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text((results / "rule.json").read_text())
    other = json.loads((results / "rule.json").read_text())
    for entry in other["per_task"]:
        if entry["method"] == "rule":
            entry["accuracies"] = [value + 0.1 for value in entry["accuracies"]]
    (tmp_path / "b.json").write_text(json.dumps(other))
    store = read(tmp_path, ["a=a.json", "b=b.json"])
    one, two, both = (store.ask({"method": method, "minus": "a, untrained", **AT}) for method in ("a", "b", ["a", "b"]))
    assert one
    assert two
    assert both
    assert both.mean.value == pytest.approx((one.mean.value + two.mean.value) / 2)
    over_trainings = mean_over_tasks([one.mean.value, two.mean.value]).ci95
    assert over_trainings == pytest.approx(12.706 * 0.05, rel=1e-3)  # t of one degree of freedom, a gap of 0.1
    assert both.mean.ci95 == pytest.approx(math.hypot(over_trainings, (one.mean.ci95 + two.mean.ci95) / 2))
    assert (both.tasks, both.files) == (3, ["a.json", "b.json"])
    assert store.ask({"method": ["a", "nothing"], **AT}) is None

    counterparts = store.ask({"method": ["b", "b"], "minus": ["a", "a, untrained"], **AT})
    assert counterparts
    assert counterparts.mean.value == pytest.approx((0.1 + two.mean.value) / 2)
    with pytest.raises(ValueError, match="expected lists of one length"):
        store.ask({"method": ["a", "b"], "minus": ["a, untrained"], **AT})

    for entry in other["per_task"]:
        entry["seed"] = 1
    (tmp_path / "b.json").write_text(json.dumps(other))
    assert read(tmp_path, ["a=a.json", "b=b.json"]).ask({"method": ["a", "b"], **AT}) is None  # on other tasks


def test_trainings_on_tasks_of_their_own_are_no_surer_than_they_differ(results: Path, tmp_path: Path) -> None:
    content, means = json.loads((results / "rule.json").read_text()), []
    for seed, gain in enumerate((0.0, 0.1, 0.3)):
        content["meta"]["rules"]["rule"] |= {"file": f"runs/mine_{seed}/rule.safetensors"}
        content["meta"]["rules"]["rule"]["use"]["own"] = True
        for entry in content["per_task"]:
            entry["seed"] = seed
            if entry["method"] == "rule":
                entry["accuracies"] = [value + gain - means[-1][1] if means else value for value in entry["accuracies"]]
        means.append((accuracies_of(content), gain))
        (tmp_path / f"mine_{seed}.json").write_text(json.dumps(content))
    found = read(tmp_path, ["*.json"]).ask({"method": "mine", **AT})
    assert found.tasks == 9
    over_trainings = mean_over_tasks([one for one, _ in means])
    assert found.mean.value == pytest.approx(over_trainings.value)
    assert found.mean.ci95 == pytest.approx(over_trainings.ci95)  # wider than that over nine tasks


def accuracies_of(content: dict[str, Any]) -> float:
    (one,) = (entry for entry in content["per_task"] if entry["method"] == "rule" and entry["shots"] == 10)
    return sum(one["accuracies"]) / len(one["accuracies"])


def test_what_a_rule_was_shown_is_the_same_where_files_are_pooled(results: Path, tmp_path: Path) -> None:
    content = json.loads((results / "rule.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content))
    for entry in content["per_task"]:
        entry["seed"] = 1
    content["meta"]["swapped"] = ["query_x"]
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"b.json and .*a.json: mine on digits with swapped"):
        read(tmp_path, ["mine=a.json", "mine=b.json"])
    content["per_task"][0]["accuracies"][0] = math.nan
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"b.json: accuracies of .* are not all finite"):
        read(tmp_path, ["mine=b.json"])


def test_a_sweep_is_a_place_of_its_own_and_pairs_with_what_it_leaves_alone(results: Path) -> None:
    store = read(results, ["*.json"])
    swept = {**AT, "setting": {"steps": 4}}
    before = accuracies(results / "steps.json", "random_network")
    assert store.ask({"method": RANDOM, **swept}).mean == pytest.approx(mean_over_tasks(before))
    assert store.ask({"method": RANDOM, **swept}) == store.ask({"method": RANDOM, **AT, "setting": {"steps": 1}})
    lead = store.ask({"method": "mine", "minus": RANDOM, **swept})
    after = accuracies(results / "steps.json", "rule", setting={"steps": 4})
    assert lead.mean.value == pytest.approx(sum(after) / 3 - sum(before) / 3)
    assert store.ask({"method": "mine", "minus": "pca", **swept}) is None
    assert store.ask({"method": "mine", **AT, "setting": {"steps": 3}}) is None
    assert store.ask({"method": "mine", **AT, "setting": {"activation": "tanh"}}) is not None


def test_a_share_is_of_a_lead_on_the_same_tasks(results: Path) -> None:
    store = read(results, ["rule.json", "baselines.json"])
    about = {"minus": RANDOM, "share_of": "raw", **AT, "seed": 0}
    kept = store.ask({"method": "mine", **about})
    (mine, random), raw = (
        (accuracies(results / "rule.json", m, shots=10) for m in ("rule", "random_network")),
        accuracies(results / "baselines.json", "raw", seed=0, shots=10),
    )
    assert kept.mean.value == pytest.approx((sum(mine) - sum(random)) / (sum(raw) - sum(random)))
    assert store.ask({"method": "raw", **about}).mean == (pytest.approx(1), pytest.approx(0, abs=1e-12))
    # Leads of 1 and 3 out of 2 and 2, so 1 as a whole, with what is left -0.5 and 0.5.
    assert share_of_lead([1.0, 3.0], [0.0, 0.0], [2.0, 2.0]) == mean_over_tasks([0.5, 1.5])
    with pytest.raises(ValueError, match="got a share of a lead of 0"):
        share_of_lead([1.0], [0.5], [0.5])


def test_questions_that_mean_several_places_or_nothing_known_are_refused(results: Path) -> None:
    store = read(results, ["*.json"])
    with pytest.raises(ValueError, match="raw was measured for several of shots; say which"):
        store.ask({"method": "raw", "source": "digits"})
    with pytest.raises(ValueError, match=r"got shot in .*, expected fields of a place"):
        store.ask({"method": "raw", "shot": 1})
    with pytest.raises(ValueError, match=r"got share_of in .*, expected fields of a place"):
        store.ask({"method": "mine", "share_of": "raw", **AT})
    with pytest.raises(ValueError, match="expected a method"):
        store.ask(AT)
    assert store.ask({"method": "raw", **AT, "source": ["digits", "mnist5k"]}) is None  # not a mean over one of two


def test_a_rule_goes_by_its_file_or_by_the_name_that_it_is_given(results: Path, tmp_path: Path) -> None:
    paths = ("runs/a/rule.safetensors", "runs/b/rule_last.safetensors", "b/mine.safetensors")
    assert [rule_label(path) for path in paths] == ["a", "b", "mine"]
    start = tmp_path / "start.safetensors"
    save_rule(start, Hebbian(rate=0.2), {})
    (tmp_path / "rule.json").write_bytes((results / "rule.json").read_bytes())
    argv = ["--rule", str(start), "--data", "digits", *SMALL, "--baselines", "none", "--json"]
    assert evaluate.main([*argv, str(tmp_path / "start.json")]) == 0
    store = read(tmp_path, ["rule.json", "start.json", "other=start.json"])
    mine, theirs = accuracies(tmp_path / "rule.json", "rule", shots=10), accuracies(tmp_path / "start.json", "rule")
    lead = store.ask({"method": "mine", "minus": "start", **AT})
    assert lead.mean.value == pytest.approx(sum(mine) / 3 - sum(theirs) / 3)
    assert store.ask({"method": "other", "minus": "start", **AT}).mean == (0, 0)
    renamed = read(results, ["baselines.json", "again=baselines.json"])
    assert renamed.ask({"method": "raw, again", "minus": "raw", **AT}).mean == (0, 0)


def test_other_networks_make_other_methods_and_redrawn_images_other_places(results: Path, tmp_path: Path) -> None:
    rule = ["--rule", str(results / "mine.safetensors"), "--baselines", "random_network", "--hidden", "9"]
    redrawn = ["--baselines", "raw", "--seeds", "1", "--redraw", "zero_pixels=0.9"]
    for name, words in (("wide", rule), ("redrawn", redrawn)):
        assert evaluate.main(["--data", "digits", *SMALL, *words, "--json", str(tmp_path / f"{name}.json")]) == 0
    (tmp_path / "baselines.json").write_bytes((results / "baselines.json").read_bytes())
    store = read(tmp_path, ["*.json"])
    mine, pca = (
        accuracies(tmp_path / "wide.json", "rule"),
        accuracies(tmp_path / "baselines.json", "pca", seed=0, shots=10),
    )
    lead = store.ask({"method": "mine", "minus": "pca", **AT})
    assert (lead.mean.value, lead.tasks) == (pytest.approx(sum(mine) / 3 - sum(pca) / 3), 3)
    assert store.ask({"method": "random_network on 9 relu", "minus": RANDOM, **AT}).tasks == 3
    with pytest.raises(ValueError, match="raw was measured for several of redraw"):
        store.ask({"method": "raw", **AT})
    assert store.ask({"method": "raw", **AT, "redraw": "identity"}).tasks == 6
    assert store.ask({"method": "raw", **AT, "redraw": "zero_pixels=0.9"}).tasks == 3


Change = Callable[[dict[str, Any]], object]


def contradicting(folder: Path, path: Path, change: Change) -> Store:
    """What the file at ``path`` and the same after ``change`` say together."""
    content = json.loads(path.read_text())
    content["meta"]["baseline_settings"] = {"raw": {"x": 1}}
    (folder / "a.json").write_text(json.dumps(content))
    change(content)
    (folder / "b.json").write_text(json.dumps(content))
    return read(folder, ["*.json"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(drawn="x"), "b.json and a.json: other tasks of digits, 10 ways, 1 shots, seed 0"),
        (
            lambda one: one.update(accuracies=[0.0] * 3),
            f"b.json and a.json: other accuracies of {RANDOM} on digits, seed 0",
        ),
        (lambda one: one.update(accuracies=one["accuracies"][:2]), f"other accuracies of {RANDOM} on digits"),
    ],
)
def test_files_that_contradict_each_other_are_one_clear_line(
    results: Path, tmp_path: Path, change: Change, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        contradicting(tmp_path, results / "baselines.json", lambda content: change(content["per_task"][0]))
    assert "\n" not in str(caught.value)


def test_means_that_differ_by_rounding_are_one_result(results: Path, tmp_path: Path) -> None:
    def nudge(content: dict[str, Any]) -> None:
        content["per_task"][0]["accuracies"][0] += 0.01  # 0.0033 in the mean of three

    store = contradicting(tmp_path, results / "baselines.json", nudge)
    kept = store.ask({"method": RANDOM, **AT, "shots": 1, "seed": 0})
    assert kept.mean.value == pytest.approx(sum(accuracies(tmp_path / "a.json", "random_network", seed=0, shots=1)) / 3)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "rule",
            lambda meta: meta.update(batch=9),
            "b.json and a.json: mine on digits with batch 9 and 8, so their tasks are not of one",
        ),
        (
            "rule",
            lambda meta: meta["rules"]["rule"].update(provenance={"seed": "1"}),
            "mine on digits with provenance",
        ),
        (
            "rule",
            lambda meta: meta["rules"]["rule"]["use"].update(normalisation="support"),
            "mine on digits with normalisation support and unlabelled",
        ),
        (
            "baselines",
            lambda meta: meta.update(baseline_settings={"raw": {"x": 2}}),
            "raw on digits with x 2 and 1",
        ),
        (
            "baselines",
            lambda meta: meta.update(outputs=5),
            "random_network on 6 relu on digits with outputs 5 and 4",
        ),
    ],
)
def test_seeds_of_other_settings_are_not_pooled(
    results: Path, tmp_path: Path, name: str, change: Change, message: str
) -> None:
    def other_seeds(content: dict[str, Any]) -> None:
        change(content["meta"])
        for one in content["per_task"]:
            one["seed"] += 7

    with pytest.raises(ValueError, match=message):
        contradicting(tmp_path, results / f"{name}.json", other_seeds)


def test_other_files_and_none_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\*.json: no such file under .*, expected results"):
        read(tmp_path, ["*.json"])
    for content in ("[1]", "{}", "{", '{"meta": {}}', '{"per_task": [{}]}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ValueError, match=r"x.json: no results of this project \((KeyError|.*Error): "):
            read(tmp_path, ["x.json"])


def few_shot(folder: Path, rule: str, seed: int, values: dict[str, list[float]], drawn: str = "same") -> Path:
    """A file as evaluate_few_shot writes it, of two tasks."""
    about = {"source": "npz:a/strokes.npz@test", "ways": 5, "shots": 1, "queries": 5, "size": 28, "permute": False}
    about |= {"readout": "own", "setting": {}, "seed": seed, "drawn": f"{drawn}{seed}"}
    meta = {
        "rule_file": f"runs/{rule}_{seed}/rule.safetensors",
        "encoder": ["runs/code.safetensors"],
        "command": f"python x.py {rule}",
        "commit": "0123456789abcdef",
        "batch_norm": "batch",
    }
    per_task = [about | {"method": method, "accuracies": accuracies} for method, accuracies in values.items()]
    path = folder / f"{rule}_{seed}.json"
    path.write_text(json.dumps({"meta": meta, "per_task": per_task}))
    return path


def test_learned_starts_are_paired_by_task_over_all_seeds(tmp_path: Path) -> None:
    for seed, shift in ((0, 0.0), (1, 0.2)):
        shared = {"raw_nearest": [0.3, 0.5], "code_linear": [0.4, 0.6]}
        few_shot(tmp_path, "umtra", seed, {"rule": [0.5 + shift, 0.7], "scratch": [0.2, 0.2], **shared})
    few_shot(tmp_path, "oracle", 1, {"rule": [0.9, 0.9], "scratch": [0.1, 0.1], **shared})
    store = read(tmp_path, ["*.json"])

    def value(**of: str) -> float:
        return store.ask({**of, "source": "strokes.npz@test", "ways": 5, "shots": 1}).mean.value

    assert value(method="umtra") == pytest.approx((0.5 + 0.7 + 0.7 + 0.7) / 4)
    assert value(method="umtra", minus="scratch of umtra") == pytest.approx((0.3 + 0.5 + 0.5 + 0.5) / 4)
    assert value(method="umtra", minus="embedding_linear") == pytest.approx((0.1 + 0.1 + 0.3 + 0.1) / 4)
    assert value(method="oracle", minus="umtra") == pytest.approx(0.2)  # on seed 1 alone
    assert value(method="oracle", minus="scratch of umtra") == pytest.approx(0.7)


def test_learned_starts_that_cannot_be_paired_are_refused(tmp_path: Path) -> None:
    few_shot(tmp_path, "umtra", 0, {"rule": [0.5, 0.7], "code_nearest": [0.3, 0.3]})
    few_shot(tmp_path, "oracle", 0, {"rule": [0.5, 0.7]}, drawn="other")
    with pytest.raises(ValueError, match=r"umtra_0.json and oracle_0.json: other tasks of strokes.npz@test"):
        read(tmp_path, ["*.json"])
    path = few_shot(tmp_path, "oracle", 0, {"rule": [0.5, 0.7]})
    (tmp_path / "other.json").write_text(path.read_text().replace("oracle_0/", "oracle_9/"))
    with pytest.raises(ValueError, match=r"other.json and oracle_0.json: oracle on .* with a rule of seed 0 in"):
        read(tmp_path, ["*.json"])
    code = (tmp_path / "umtra_0.json").read_text()
    (tmp_path / "other.json").write_text(code.replace("code.", "codes.").replace("code_", "codes_"))
    with pytest.raises(ValueError, match=r"embedding_nearest on .* with encoders \['code'\] and \['codes'\]"):
        read(tmp_path, ["other.json", "umtra_0.json"])


def test_one_shot_runs_and_costs_are_read(tmp_path: Path) -> None:
    errors = {"pixels, nearest": {"error": 79, "ci95": 6}, "runs/aal_1/rule.safetensors": {"error": 50, "ci95": 5}}
    costs = {
        "sca": {"seconds": [3.0, 9.0, 4.0], "peak_mib": 300.0, "outer_steps": 50},
        "maml": {"seconds": [2.0, 1.0, 2.5], "peak_mib": 200.0},
    }
    for name, content in {
        "runs": {"meta": {"command": "z", "commit": "e"}, "errors": errors},
        "costs": {"meta": {"command": "w", "commit": "f"}, "costs": costs},
    }.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    store = read(tmp_path, ["*.json"])
    assert store.ask({"method": "aal", "source": "one_shot_runs", "seed": 1}).mean == (0.5, 0.05)
    assert store.ask({"method": "raw_nearest", "source": "one_shot_runs"}).mean == (0.79, 0.06)
    assert store.ask({"method": "sca over maml", "source": "seconds"}).mean.value == pytest.approx(2 / 100)
    assert store.ask({"method": "sca", "source": "seconds"}).mean.value == pytest.approx(200 / 100)
    assert store.ask({"method": "maml", "source": "seconds"}) is None
    assert store.ask({"method": "maml over sca", "source": "memory"}).mean.value == pytest.approx(2 / 3 / 100)
    assert [store.made[f"{name}.json"] for name in ("runs", "costs")] == [("z", "e"), ("w", "f")]


def test_each_whole_set_is_a_source_of_its_own_too(tmp_path: Path) -> None:
    argv = ["--data", "clusters:rings@test", "--tasks", "4", "--baselines", "ward", "--json", str(tmp_path / "a.json")]
    assert evaluate.main(argv) == 0
    content = json.loads((tmp_path / "a.json").read_text())
    ((part, names),) = content["meta"]["sets"].items()
    store = read(tmp_path, ["a.json"])
    whole = store.ask({"method": "ward", "source": "rings@test"})
    assert whole is not None
    assert part == "clusters:rings@test"
    alone = [store.ask({"method": "ward", "source": f"rings@test/{name}"}) for name in names]
    assert [one.tasks for one in alone] == [0] * 4
    assert [one.mean.value for one in alone] == accuracies(tmp_path / "a.json", "ward")
    assert whole.mean.value == pytest.approx(sum(one.mean.value for one in alone) / 4)
