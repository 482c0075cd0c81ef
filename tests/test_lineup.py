"""Who takes part in an evaluation: several rules side by side, each as its file says, and what all results tell."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import REPORT

from evaluation.lineup import chosen_baselines
from evaluation.methods import BASELINES, CHEAP, CLASSIFIED, CLASSIFIERS
from evaluation.results import Results, leader
from evaluation.results_table import percent, pooled, views_of
from evaluation.statistics import mean_over_tasks, paired_difference
from experiment.report.store import read
from inner_loop.network_file import save_network
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP
from inner_loop.transformer import RuleFeatures
from unsupervised_update_rules.commands import evaluate, meta_train
from update_rules.contract import Rule
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.local.neuron_local import NeuronLocal
from update_rules.rule_file import save_rule

Arguments = Callable[..., list[str]]

TASKS = ["--data", "digits", "--ways", "3", "--shots", "2", "--queries", "3", "--tasks", "4"]
COMMON = {
    *("inductive", "one_label_penalty"),
    *("rules", "steps", "batch", "normalisation", "split_seed", "queries", "size", "permute", "redraw", "sweep"),
    *("unlabelled_shots", "distractors", "swapped", "fixed_classes"),
    *("seeds", "encoder", "baseline_settings", "command", "commit", "python", "torch", "threads", "machine"),
    *("processor", "diverged"),
}
"""What the meta data of any results file tell, besides the network of the baselines and the seconds that it took."""
NETWORK = {"hidden", "outputs", "activation", "network"}


def learned(rule: Rule) -> Rule:
    """``rule`` with a θ that stands for one that was learned."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return rule


def dense(*hidden: int, outputs: int = 4) -> dict[str, Any]:
    return {"name": "mlp", "options": {"hidden": [list(hidden)], "outputs": outputs, "activations": ["relu"]}}


CONV4 = {"name": "conv4", "options": {"filters": 3}}


@pytest.fixture
def rules(tmp_path: Path) -> dict[str, str]:
    """Rule files by name, of other networks, inner steps, normalisations and readouts."""
    head, prototypes = ({"name": name, "options": {}} for name in ("head", "prototypes"))
    made: dict[str, tuple[Rule, dict[str, Any]]] = {
        "first": (learned(Hebbian()), {"network": dense(6), "steps": 2, "batch": 8}),
        "second": (learned(NeuronLocal(hidden=4)), {"network": dense(5, 5, outputs=3), "steps": 3, "batch": 9}),
        "adapted": (
            Maml(layout(MLP((25, 6, 3)).shapes)),
            {"network": dense(6), "steps": 2, "normalisation": "support", "readout": head, "size": 5, "permute": False},
        ),
        "told": (
            ProtoNet(layout(Conv4(5, filters=3).shapes)),
            {"network": CONV4, "steps": 0, "readout": prototypes, "normalisation": "batch", "size": 8, "permute": True},
        ),
    }
    for name, (rule, use) in made.items():
        save_rule(tmp_path / f"{name}.safetensors", rule, {"seed": 5}, use)
    return {name: str(tmp_path / f"{name}.safetensors") for name in made}


def evaluated(path: Path, *argv: str) -> Results:
    assert evaluate.main([*TASKS, *argv, "--json", str(path)]) == 0
    found: Results = json.loads(path.read_text())
    return found


def by_method(results: Results) -> dict[str, list[float]]:
    return {one["method"]: one["accuracies"] for one in results["per_task"]}


def test_several_rules_are_compared_each_as_its_file_says(
    rules: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = rules["first"], rules["second"]
    together = evaluated(tmp_path / "out.json", "--rule", first, second, "--size", "5")
    table = capsys.readouterr().out
    names = ["first", "first, untrained", "second", "second, untrained", "random_network", "raw", "pca"]
    assert list(by_method(together)) == names
    assert len({one["drawn"] for one in together["per_task"]}) == 1
    for name in ("first", "second"):
        alone = evaluated(tmp_path / "alone.json", "--rule", rules[name], "--size", "5")
        assert by_method(alone)["rule"] == by_method(together)[name]
        assert by_method(alone)["untrained_rule"] == by_method(together)[f"{name}, untrained"]
        assert alone["per_task"][0]["drawn"] == together["per_task"][0]["drawn"]
        about, (said,) = together["meta"]["rules"][name], alone["meta"]["rules"].values()
        assert about == said
        if name == "first":  # whose network is that of the baselines
            assert by_method(alone)["random_network"] == by_method(together)["random_network"]
    uses = [one["use"] for one in together["meta"]["rules"].values()]
    assert [(use["network"]["hidden"], use["steps"], use["batch"]) for use in uses] == [([[6]], 2, 8), ([[5, 5]], 3, 9)]
    assert leader(together) == "first"
    assert [one["minus"] for one in together["differences"]] == names[1:]
    assert "first leads" in table
    assert "rule leads" not in table
    lead = together["differences"][1]
    mine, theirs = by_method(together)["first"], by_method(together)["second"]
    assert (lead["difference"], lead["ci95"]) == pytest.approx(paired_difference(mine, theirs))


def test_what_is_given_is_given_to_every_rule(rules: dict[str, str], tmp_path: Path) -> None:
    argv = ["--rule", rules["first"], rules["second"], "--size", "5", "--baselines", "none"]
    still = evaluated(tmp_path / "out.json", *argv, "--steps", "0")
    usual = evaluated(tmp_path / "out.json", *argv)
    assert [one["use"]["steps"] for one in still["meta"]["rules"].values()] == [0, 0]
    assert all(by_method(still)[name] != by_method(usual)[name] for name in ("first", "second"))
    normalised = evaluated(tmp_path / "out.json", *argv, "--normalisation", "support")
    assert [one["use"]["normalisation"] for one in normalised["meta"]["rules"].values()] == ["support"] * 2
    assert all(by_method(normalised)[name] != by_method(usual)[name] for name in ("first", "second"))


def test_rules_with_and_without_a_readout_of_their_own_stand_in_one_table(
    rules: dict[str, str], tmp_path: Path
) -> None:
    together = evaluated(tmp_path / "out.json", "--rule", rules["adapted"], rules["first"])
    assert {one["readout"] for one in together["per_task"]} == {"own"}
    expected = ["adapted", "adapted, untrained", "first", "first, untrained", *CLASSIFIED[1:]]
    assert list(by_method(together)) == expected
    assert {(one["size"], one["permute"]) for one in together["per_task"]} == {(5, False)}
    ridge = evaluated(tmp_path / "out.json", "--rule", rules["first"], "--size", "5", "--no-permute")
    assert {one["readout"] for one in ridge["per_task"]} == {"ridge"}
    assert by_method(ridge)["rule"] == by_method(together)["first"]


def test_size_and_order_of_inputs_are_those_that_a_rule_was_trained_with(rules: dict[str, str], tmp_path: Path) -> None:
    for name, size, permute in (("adapted", 5, False), ("told", 8, True), ("first", 14, True)):
        argv = ["--rule", rules[name], "--baselines", "none"]
        found = evaluated(tmp_path / "out.json", *argv)
        assert (found["per_task"][0]["size"], found["per_task"][0]["permute"]) == (size, permute)
        assert (found["meta"]["size"], found["meta"]["permute"]) == (size, permute)
    given = evaluated(tmp_path / "out.json", "--rule", rules["told"], "--size", "6", "--no-permute")
    assert (given["per_task"][0]["size"], given["per_task"][0]["permute"]) == (6, False)


@pytest.mark.parametrize(
    ("named", "extra", "message"),
    [
        (("adapted", "told"), [], r"got rules trained with size 5 \(adapted\) and 8 \(told\), .*; say which by --size"),
        (
            ("adapted", "told"),
            ["--size", "5"],
            r"with permute False \(adapted\) and True \(told\), .*say which by --per",
        ),
        (("first", "first"), [], "got --rule .*first.safetensors more than once"),
        (("first", "second"), ["--sweep", "width"], "got --sweep with several rules, expected one"),
        (("first", "second"), ["--ablate"], "got --ablate with 2 rules, expected the one whose parts are switched off"),
        (("adapted",), ["--size", "6"], "rule maml starts from weights .*, got a base network of w1=36x6"),
    ],
)
def test_rules_that_do_not_agree_are_refused(
    rules: dict[str, str], named: tuple[str, ...], extra: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        evaluate.main([*TASKS, "--rule", *(rules[name] for name in named), *extra])
    assert "\n" not in str(caught.value)


def test_rules_of_one_name_and_of_other_splits_are_refused(rules: dict[str, str], tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_rule(tmp_path / folder / "mine.safetensors", Hebbian(), {"seed": 5})
        save_rule(tmp_path / folder / "rule.safetensors", Hebbian(), {"seed": 5 if folder == "a" else 6})
    same = [str(tmp_path / folder / "mine.safetensors") for folder in ("a", "b")]
    with pytest.raises(ValueError, match="got rules called mine, mine, expected different names"):
        evaluate.main([*TASKS, "--rule", *same])
    other = [str(tmp_path / folder / "rule.safetensors") for folder in ("a", "b")]
    part = [word if word != "digits" else "digits@train" for word in TASKS]
    with pytest.raises(
        ValueError, match="digits@train: rules or encoders of training seeds 5, 6 were trained on other parts"
    ):
        evaluate.main([*part, "--rule", *other])
    assert evaluate.main([*TASKS, "--rule", *other, "--baselines", "none"]) == 0  # these have no parts


def test_an_encoder_of_a_rules_name_is_refused(rules: dict[str, str], tmp_path: Path) -> None:
    x = torch.rand(20, 25, generator=torch.Generator().manual_seed(0)).numpy()
    trained = RuleFeatures(Hebbian(), hidden=(), outputs=5, steps=1, random_state=0).fit(x).network_
    (tmp_path / "nets").mkdir()
    save_network(tmp_path / "nets" / "rule.safetensors", trained)
    argv = ["--rule", rules["first"], "--encoder", str(tmp_path / "nets" / "rule.safetensors")]
    with pytest.raises(ValueError, match="got a rule and an encoder called rule, expected different names"):
        evaluate.main([*TASKS, "--size", "5", *argv])


def test_seeds_are_pooled_task_by_task(
    rules: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--rule", rules["first"], "--size", "5", "--baselines", "raw"]
    both = evaluated(tmp_path / "out.json", *argv, "--seeds", "2", "1")
    table = capsys.readouterr().out
    each = {seed: by_method(evaluated(tmp_path / "one.json", *argv, "--seeds", str(seed))) for seed in (1, 2)}
    found = pooled(both, views_of(both)[0])
    for method in ("rule", "raw"):
        assert found[method, "digits"] == each[1][method] + each[2][method]
        assert percent(*mean_over_tasks(found[method, "digits"])) in table
    assert percent(*paired_difference(found["rule", "digits"], found["raw", "digits"]), "+") in table
    assert "interval over 8 tasks" in " ".join(table.split())
    assert [(one["seed"], one["method"]) for one in both["rows"]] == [
        (seed, method) for seed in (2, 1) for method in ("rule", "raw")
    ]
    assert len({one["drawn"] for one in both["per_task"]}) == 2


def test_a_rule_of_a_foreign_module_is_run_where_it_is_trusted_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from update_rules.local.hebbian import Hebbian\n\n\nclass Mine(Hebbian):\n    pass\n"
    (tmp_path / "rule_from_elsewhere.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    import rule_from_elsewhere  # type: ignore[import-not-found]

    path = tmp_path / "mine.safetensors"
    save_rule(path, rule_from_elsewhere.Mine(), {"seed": 0}, {"network": dense(6), "steps": 2, "batch": 8})
    monkeypatch.delitem(sys.modules, "rule_from_elsewhere")
    argv = ["--rule", str(path), "--size", "5", "--baselines", "none"]
    with pytest.raises(ValueError, match=r"needs the rule rule_from_elsewhere:Mine, .*add --trust rule_from_elsewhere"):
        evaluate.main([*TASKS, *argv])
    assert "rule_from_elsewhere" not in sys.modules
    found = evaluated(tmp_path / "out.json", *argv, "--trust", "rule_from_elsewhere")
    assert found["meta"]["rules"]["rule"]["rule"] == "rule_from_elsewhere:Mine"


def test_all_results_have_one_format(rules: dict[str, str], tmp_path: Path, tiny_config: Arguments) -> None:
    """Of baselines alone, one rule, several, a readout of its own, a sweep, parts switched off, and a run's report."""
    small = ["--size", "5", "--hidden", "6", "--steps", "2", "--batch", "8"]
    first = ["--rule", rules["first"]]
    cases = {
        "baselines": ["--baselines", "raw", "kmeans", *small],
        "one": [*first, *small],
        "several": [*first, rules["second"], *small],
        "own": ["--rule", rules["told"], "--shots", "1", "2", "--seeds", "0", "1"],
        "swept": [*first, *small, "--sweep", "steps", "--values", "0.5", "1"],
        "parts": [*first, *small, "--baselines", "none", "--ablate"],
    }
    found = {name: evaluated(tmp_path / f"{name}.json", *argv) for name, argv in cases.items()}
    assert meta_train.main(tiny_config("run", REPORT)) == 0
    found["report"] = json.loads((tmp_path / "run" / "report" / "results.json").read_text())
    lists = ("rows", "differences", "per_task")
    keys = {part: set(found["one"][part][0]) for part in lists}
    about = set(found["one"]["meta"]["rules"]["rule"])
    for name, results in found.items():
        assert set(results) == {*lists, "meta"}, name
        for part in lists:
            assert all(set(one) == keys[part] for one in results[part]), name
        assert set(results["meta"]) - {"seconds"} - NETWORK == COMMON, name
        assert set(results["meta"]) & NETWORK, name
        assert all(set(one) == about for one in results["meta"]["rules"].values()), name
        assert bool(results["meta"]["rules"]) == bool(results["differences"]) == (name != "baselines"), name
        assert json.loads(json.dumps(results)) == results
    assert found["report"]["meta"]["rules"]["rule"]["rule"] == "neuron_local"
    assert found["report"]["meta"]["command"].startswith("python scripts/meta_train.py --config")


def test_the_store_of_results_reads_every_kind(rules: dict[str, str], tmp_path: Path) -> None:
    small = ["--size", "5", "--batch", "8", "--steps", "2"]
    one = evaluated(tmp_path / "one.json", "--rule", rules["first"], *small, "--baselines", "raw", "--ablate")
    several = evaluated(tmp_path / "several.json", "--rule", rules["first"], rules["second"], *small)
    own = evaluated(tmp_path / "own_3.json", "--rule", rules["told"], "--seeds", "3")
    at = {"source": "digits", "readout": "ridge"}
    store = read(tmp_path, ["one.json", "several.json"])
    for method, results, name in (
        ("first", one, "rule"),
        ("first", several, "first"),
        ("first, without term hebb", one, "without term hebb"),
        ("second, untrained", several, "second, untrained"),
        ("raw", several, "raw"),
    ):
        answer = store.ask({"method": method, **at})
        assert answer is not None
        assert answer.mean == pytest.approx(mean_over_tasks(by_method(results)[name])), method
    lead = store.ask({"method": "first", "minus": "first, without term hebb", **at})
    assert lead is not None
    parts = by_method(one)
    assert lead.mean == pytest.approx(paired_difference(parts["rule"], parts["without term hebb"]))
    alone = read(tmp_path, ["mine=own_3.json"]).ask({"method": "mine", "minus": "raw_nearest", "readout": "own"})
    assert alone is not None
    assert alone.mean == pytest.approx(paired_difference(by_method(own)["rule"], by_method(own)["raw_nearest"]))


def test_the_usual_baselines_are_those_that_the_readouts_can_read(rules: dict[str, str]) -> None:
    def chosen(given: list[str] | None, *readouts: str, encoders: tuple[str, ...] = ()) -> list[str]:
        return chosen_baselines(given, readouts, [], encoders)

    assert chosen(None, "ridge", "nearest") == list(CHEAP[1:])
    assert chosen(None, "own") == list(CLASSIFIED[1:])
    assert set(chosen(None, "own", "ridge")) == {*CHEAP[1:], *CLASSIFIED[1:]}
    assert chosen(["all"], "ridge") == [name for name in BASELINES if name != "untrained_rule"]
    assert chosen(["all"], "own") == list(CLASSIFIED[1:])
    assert chosen(["none"], "ridge", encoders=("code",)) == ["code"]
    assert chosen(["none"], "own", encoders=("code",)) == [f"code_{probe}" for probe in CLASSIFIERS]
    assert chosen(["pca", "raw", "pca"], "ridge") == ["raw", "pca"]
