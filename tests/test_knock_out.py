"""Rules without one of their parts: what is off does nothing any more, the rest stays, and the script end to end."""

import json
from pathlib import Path

import pytest
import torch

from evaluation.ablation import knock_outs
from experiment.pages.stored_results import read_stored
from inner_loop.networks.mlp import MLP
from outer_loop.config.file import load_config, save_config
from unsupervised_update_rules.commands import knock_out
from update_rules.contract import Rule, State
from update_rules.registry import make_rule
from update_rules.rule_file import save_rule

NETWORK = MLP((7, 5, 4))
SMALL = [
    "--ways",
    "3",
    "--shots",
    "2",
    "--queries",
    "2",
    "--tasks",
    "3",
    "--steps",
    "2",
    "--hidden",
    "6",
    "--outputs",
    "4",
    "--batch",
    "8",
    "--size",
    "5",
]


def trained(name: str, seed: int = 0) -> Rule:
    rule, generator = make_rule(name), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return rule


def two_steps(rule: Rule) -> State:
    generator = torch.Generator().manual_seed(1)
    state = rule.init_state(NETWORK, generator)
    with torch.no_grad():
        for _ in range(2):
            state = rule.step(NETWORK, state, {"unlabelled": torch.rand(9, 7, generator=generator)})
    return state


@pytest.mark.parametrize(("name", "parts"), [("neuron_local", 11 + 4), ("hebbian", 12 + 5 + 1 + 2)])
def test_every_part_makes_a_difference_and_leaves_the_rule_itself(name: str, parts: int) -> None:
    rule = trained(name)
    before = {key: value.clone() for key, value in rule.state_dict().items()}
    whole = two_steps(rule)
    variants = dict(knock_outs(rule))
    assert len(variants) == parts
    for part, variant in variants.items():
        changed = two_steps(variant)
        assert max(float((changed[key] - whole[key]).abs().max()) for key in whole) > 1e-5, part
    assert all(torch.equal(value, before[key]) for key, value in rule.state_dict().items())


def test_a_term_that_is_off_has_no_weight_anywhere() -> None:
    described = dict(knock_outs(trained("neuron_local")))["term hebb"].describe()
    assert {value for key, value in described.items() if key.endswith("/hebb")} == {0.0}
    described = dict(knock_outs(trained("hebbian")))["term compete"].describe()
    assert {value for key, value in described.items() if key.endswith("/compete")} == {0.0}


def test_without_inner_time_rate_and_mixing_stay_as_they_are() -> None:
    rule = dict(knock_outs(trained("neuron_local")))["inner time"]
    early, late = torch.tensor([-1.0, 0.5, 1.0]), torch.tensor([1.0, 0.5, 1.0])
    assert torch.equal(rule.rate(early), rule.rate(late))
    assert torch.equal(rule.mixing_weights(early), rule.mixing_weights(late))


def test_the_script_prints_and_stores_for_the_page_of_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_rule(tmp_path / "mine.safetensors", trained("hebbian"), {"seed": 0})
    argv = ["--rule", str(tmp_path / "mine.safetensors"), "--data", "digits", *SMALL]
    assert knock_out.main([*argv, "--json", str(tmp_path / "found.json")]) == 0
    stored = read_stored([tmp_path / "found.json"]).ablations
    assert len(stored) == 1 + 20
    assert stored[0]["change"]["digits"] == [0, 0]
    assert stored[0]["made"]["commit"]
    assert (stored[0]["made"]["tasks"], stored[0]["made"]["threads"]) == (3, 1)
    for one in stored:
        change, ci95 = one["change"]["digits"]
        assert one["accuracy"]["digits"] == pytest.approx(stored[0]["accuracy"]["digits"] + change)
        assert ci95 >= 0
    assert "mine, without term hebb" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["ablations"][0]["command"].startswith("python scripts/")


def test_parts_may_be_switched_off_in_networks_of_another_activation(tmp_path: Path) -> None:
    save_rule(tmp_path / "mine.safetensors", trained("hebbian"), {"seed": 0})
    argv = ["--rule", str(tmp_path / "mine.safetensors"), "--data", "digits", *SMALL]
    found = []
    for activation in ("relu", "winners"):
        assert knock_out.main([*argv, "--activation", activation, "--json", str(tmp_path / "found.json")]) == 0
        found.append([one["accuracy"]["digits"] for one in read_stored([tmp_path / "found.json"]).ablations])
    assert found[0] != found[1]


def test_rules_trained_otherwise_are_compared_with_what_they_changed(tmp_path: Path) -> None:
    for name, seed, overrides in (("whole", 0, []), ("other", 1, ["outer.clip=0.5"])):
        run = tmp_path / name
        run.mkdir()
        save_rule(run / "rule.safetensors", trained("hebbian", seed), {"seed": 0})
        save_config(load_config("configs/hebbian.yaml", [f"run_dir={name}", *overrides]), run / "config.yaml")
    rule, other = (str(tmp_path / name / "rule.safetensors") for name in ("whole", "other"))
    argv = ["--rule", rule, "--others", other, "--data", "digits", *SMALL]
    assert knock_out.main([*argv, "--json", str(tmp_path / "found.json")]) == 0
    first, second = read_stored([tmp_path / "found.json"]).ablations
    assert (first["name"], first["overrides"], first["change"]["digits"]) == ("whole", [], [0, 0])
    assert (second["name"], second["overrides"]) == ("other", ["outer.clip=0.5"])
    assert second["accuracy"] != first["accuracy"]


def test_rules_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        save_rule(tmp_path / f"{name}.safetensors", trained("hebbian"), {"seed": seed})
    argv = ["--data", "digits", *SMALL, "--rule", str(tmp_path / "a.safetensors"), "--others"]
    with pytest.raises(ValueError, match=r"got rules of training seeds 0 of .*a\.safetensors, 1 of .*b\.safetensors"):
        knock_out.main([*argv, str(tmp_path / "b.safetensors")])
    with pytest.raises(ValueError, match="got rules called a, a; rename some"):
        knock_out.main([*argv, str(tmp_path / "a.safetensors")])


def test_a_rule_without_named_parts_is_refused(tmp_path: Path) -> None:
    save_rule(tmp_path / "metz.safetensors", make_rule("metz", outputs=4, hidden=4, top_hidden=4), {"seed": 0})
    with pytest.raises(ValueError, match="got rule metz, expected neuron_local or hebbian"):
        knock_out.main(["--rule", str(tmp_path / "metz.safetensors"), "--data", "digits", *SMALL])
