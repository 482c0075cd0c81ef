"""Rules without one of their parts: what is off does nothing any more, the rest stays, and evaluations of them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evaluation.statistics import paired_difference
from inner_loop.networks.mlp import MLP
from outer_loop.config.file import changed_settings, load_config, save_config
from unsupervised_update_rules.commands import evaluate
from update_rules.contract import Problem, Rule, State
from update_rules.registry import make_rule
from update_rules.rule_file import save_rule

ROOT = Path(__file__).parent.parent
PROBLEM = Problem.of(MLP((7, 5, 4)))
SIZES = {"ways": 3, "shots": 2, "queries": 2, "tasks": 3, "steps": 2, "hidden": 6, "outputs": 4, "batch": 8, "size": 5}
SMALL = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]


def trained(name: str, seed: int = 0) -> Rule:
    rule, generator = make_rule(name), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return rule


def two_steps(rule: Rule) -> State:
    generator = torch.Generator().manual_seed(1)
    state = rule.init_state(PROBLEM, generator)
    with torch.no_grad():
        for _ in range(2):
            state = rule.step(PROBLEM, state, {"unlabelled": torch.rand(9, 7, generator=generator)}, "train")
    return state


@pytest.mark.parametrize(("name", "parts"), [("neuron_local", 11 + 4), ("hebbian", 12 + 5 + 1 + 2)])
def test_every_part_makes_a_difference_and_leaves_the_rule_itself(name: str, parts: int) -> None:
    rule = trained(name)
    before = {key: value.clone() for key, value in rule.state_dict().items()}
    whole = two_steps(rule)
    variants = dict(rule.parts())
    assert len(variants) == parts
    for part, variant in variants.items():
        changed = two_steps(variant)
        assert max(float((changed[key] - whole[key]).abs().max()) for key in whole) > 1e-5, part
    assert all(torch.equal(value, before[key]) for key, value in rule.state_dict().items())


def test_a_term_that_is_off_has_no_weight_anywhere() -> None:
    described = dict(trained("neuron_local").parts())["term hebb"].describe()
    assert {value for key, value in described.items() if key.endswith("/hebb")} == {0.0}
    described = dict(trained("hebbian").parts())["term compete"].describe()
    assert {value for key, value in described.items() if key.endswith("/compete")} == {0.0}


def test_without_inner_time_rate_and_mixing_stay_as_they_are() -> None:
    rule = dict(trained("neuron_local").parts())["inner time"]
    early, late = torch.tensor([-1.0, 0.5, 1.0]), torch.tensor([1.0, 0.5, 1.0])
    assert torch.equal(rule.rate(early), rule.rate(late))
    assert torch.equal(rule.mixing_weights(early), rule.mixing_weights(late))


def evaluated(path: Path, *argv: str) -> dict[str, Any]:
    assert evaluate.main(["--data", "digits", *SMALL, "--baselines", "none", *argv, "--json", str(path)]) == 0
    return json.loads(path.read_text())


def test_an_evaluation_compares_a_rule_with_copies_that_lack_one_part_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = trained("hebbian")
    save_rule(tmp_path / "mine.safetensors", rule, {"seed": 0})
    found = evaluated(tmp_path / "found.json", "--rule", str(tmp_path / "mine.safetensors"), "--ablate")
    assert "without term hebb" in capsys.readouterr().out
    accuracies = {one["method"]: one["accuracies"] for one in found["per_task"]}
    assert list(accuracies) == ["rule", *(f"without {part}" for part, _ in rule.parts())]
    assert len(accuracies) == 1 + 20
    assert len({one["drawn"] for one in found["per_task"]}) == 1
    for lead in found["differences"]:
        expected = paired_difference(accuracies["rule"], accuracies[lead["minus"]])
        assert (lead["method"], lead["difference"], lead["ci95"]) == ("rule", *expected)
    assert len(found["differences"]) == 20
    meta = found["meta"]
    assert meta["commit"]
    assert (meta["threads"], len(accuracies["rule"])) == (1, 3)
    assert meta["command"].startswith("python scripts/")
    less = dict(rule.parts())["term compete"]
    save_rule(tmp_path / "less.safetensors", less, {"seed": 0})
    alone = evaluated(tmp_path / "found.json", "--rule", str(tmp_path / "less.safetensors"))
    assert alone["per_task"][0]["accuracies"] == accuracies["without term compete"]


def test_parts_may_be_switched_off_in_networks_of_another_activation(tmp_path: Path) -> None:
    save_rule(tmp_path / "mine.safetensors", trained("hebbian"), {"seed": 0})
    argv = ["--rule", str(tmp_path / "mine.safetensors"), "--ablate"]
    found = [
        [one["accuracy"] for one in evaluated(tmp_path / "found.json", *argv, "--activation", activation)["rows"]]
        for activation in ("relu", "winners")
    ]
    assert found[0] != found[1]


def test_rules_trained_otherwise_are_compared_with_what_they_changed(tmp_path: Path) -> None:
    for name, seed, overrides in (("whole", 0, []), ("other", 1, ["outer.clip=0.5"])):
        run = tmp_path / name
        run.mkdir()
        save_rule(run / "rule.safetensors", trained("hebbian", seed), {"seed": 0})
        save_config(
            load_config(ROOT / "configs" / "hebbian.yaml", [f"run_dir={name}", *overrides]), run / "config.yaml"
        )
    save_rule(tmp_path / "apart.safetensors", trained("hebbian", 2), {"seed": 0})
    paths = [
        tmp_path / "whole" / "rule.safetensors",
        tmp_path / "other" / "rule.safetensors",
        tmp_path / "apart.safetensors",
    ]
    found = evaluated(tmp_path / "found.json", "--rule", *map(str, paths))
    changed = {name: about["changed"] for name, about in found["meta"]["rules"].items()}
    assert changed == {"whole": [], "other": ["outer.clip=0.5"], "apart": []}
    whole, other, _ = (one["accuracies"] for one in found["per_task"])
    assert whole != other
    assert [(one["method"], one["minus"]) for one in found["differences"]] == [("whole", "other"), ("whole", "apart")]


def test_what_a_config_beside_a_rule_names_is_not_imported(tmp_path: Path) -> None:
    for name in ("a", "b"):
        text = f"rule: {{name: 'no_such_module:{name.upper()}', options: {{}}}}\nrun_dir: {name}\n"
        (tmp_path / f"{name}.yaml").write_text(text)
    assert changed_settings(tmp_path / "b.yaml", tmp_path / "a.yaml") == ["rule.name=no_such_module:B"]
    (tmp_path / "b.yaml").write_text("- 1\n")
    with pytest.raises(ValueError, match=r"got .*b\.yaml and .*a\.yaml, expected configs of runs"):
        changed_settings(tmp_path / "b.yaml", tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("options", "extra", "message"),
    [
        ({"name": "metz", "outputs": 4, "hidden": 4, "top_hidden": 4}, [], "rule metz names no parts to switch off"),
        (
            {"name": "hebbian"},
            ["--steps", "0"],
            "got 0 inner steps, expected 1 or more: before the first all parts are",
        ),
    ],
)
def test_rules_without_named_parts_and_no_steps_are_refused(
    tmp_path: Path, options: dict[str, Any], extra: list[str], message: str
) -> None:
    save_rule(tmp_path / "mine.safetensors", make_rule(**options), {"seed": 0})
    argv = ["--rule", str(tmp_path / "mine.safetensors"), "--data", "digits", *SMALL, *extra, "--ablate"]
    with pytest.raises(ValueError, match=message):
        evaluate.main(argv)
    with pytest.raises(ValueError, match="got --ablate with 0 rules, expected the one whose parts are switched off"):
        evaluate.main(["--data", "digits", "--baselines", "raw", "--ablate"])
