"""What a rule is used with: what was given, else what its file says, else the usual."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inner_loop.inner_settings import InnerSettings, settings_of
from inner_loop.network_file import load_network
from inner_loop.transformer import RuleFeatures
from unsupervised_update_rules.commands import apply_rule, evaluate, knock_out
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import PRETRAINED, RuleHeader, load_rule, read_header, save_rule

USE = {"hidden": [7], "outputs": 3, "activation": "winners_linear", "steps": 2, "batch": 8}


def header(**use: Any) -> RuleHeader:
    return RuleHeader("1", "hebbian", {}, {}, "rule file mine", use)


def test_given_settings_go_before_those_of_the_file_and_these_before_the_usual() -> None:
    assert settings_of(None, {}) == settings_of(header(), {"hidden": None}) == InnerSettings()
    assert settings_of(header(**USE), {}) == InnerSettings((7,), 3, "winners_linear", 2, 8)
    assert settings_of(header(hidden=[], steps=9), {"steps": 0}) == InnerSettings(hidden=(), steps=0)


@pytest.mark.parametrize(
    "use",
    [
        {"width": 3},
        {"hidden": 3},
        {"hidden": [0]},
        {"outputs": [3]},
        {"steps": 1.5},
        {"batch": 1},
        {"activation": "no"},
    ],
)
def test_a_file_that_says_what_is_no_setting_is_refused(use: dict[str, Any]) -> None:
    ((name, value),) = use.items()
    with pytest.raises(
        ValueError, match=re.escape(f"rule file mine: says that its rule is used with {name} {value!r}, expected ")
    ):
        settings_of(header(**use), {})


@pytest.mark.parametrize("name", [file.stem for file in PRETRAINED.glob("*.safetensors")])
def test_every_pretrained_rule_says_what_it_is_used_with(name: str) -> None:
    said = read_header(name).use
    assert {"hidden", "outputs", "activation", "steps"} <= said.keys()
    settings = settings_of(read_header(name), {})
    assert [list(settings.hidden), settings.steps] == [said["hidden"], said["steps"]]


def test_the_transformer_and_the_script_use_a_rule_as_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "rule.safetensors"
    save_rule(path, Hebbian(), {}, USE)
    x = np.random.default_rng(0).random((30, 5), np.float32)
    said = RuleFeatures(path, random_state=0).fit(x)
    assert said.network_.network.sizes == (5, 7, 3)
    assert said.network_.network.activation == "winners_linear"
    assert float(said.network_.state["t"]) == 2
    by_hand = RuleFeatures(
        load_rule(path), hidden=(7,), outputs=3, activation="winners_linear", steps=2, batch_size=8, random_state=0
    )
    assert (said.transform(x) == by_hand.fit_transform(x)).all()
    assert RuleFeatures(path, outputs=4, random_state=0).fit_transform(x).shape == (30, 4)
    np.savez(tmp_path / "data.npz", x=x)
    network, out = tmp_path / "network", tmp_path / "features.npz"
    argv = ["--rule", str(path), "--data", f"npz:{tmp_path}/data.npz", "--out", str(out), "--network-out", str(network)]
    assert apply_rule.main(argv) == 0
    assert load_network(network).network.sizes == (5, 7, 3)
    with np.load(out) as written:
        np.testing.assert_allclose(written["features"], said.transform(x), rtol=1e-5)
    assert apply_rule.main([*argv, "--hidden", "4", "6", "--steps", "1"]) == 0
    assert load_network(network).network.sizes == (5, 4, 6, 3)
    with pytest.raises(ValueError, match="got --network-in and --steps, expected one of them"):
        apply_rule.main(["--network-in", str(network), *argv[2:6], "--steps", "1"])


@pytest.mark.parametrize("script", [evaluate, knock_out])
def test_the_judging_scripts_use_a_rule_as_its_file_says_and_write_that_down(script: Any, tmp_path: Path) -> None:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"seed": 0}, USE)
    argv = ["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits", "--ways", "2", "--shots", "2", "--tasks"]
    found = {}
    for name, others in (("said", []), ("given", ["--hidden", "4", "--batch", "9"])):
        assert script.main([*argv, "2", "--size", "4", *others, "--json", str(tmp_path / name)]) == 0
        written = json.loads((tmp_path / name).read_text())
        found[name] = written["meta"] if script is evaluate else written["ablations"][0]["made"]
    assert USE.items() <= found["said"].items()
    assert (USE | {"hidden": [4], "batch": 9}).items() <= found["given"].items()


def test_parts_of_a_rule_are_not_told_apart_before_the_first_inner_step(tmp_path: Path) -> None:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"seed": 0}, USE | {"steps": 0})
    with pytest.raises(ValueError, match="got 0 inner steps, expected 1 or more"):
        knock_out.main(["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits"])
