"""What a rule is used with: what was given, else what its file says, else the usual."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inner_loop.inner_settings import InnerSettings, settings_of
from inner_loop.network_file import load_network
from inner_loop.networks.conv4 import Conv4, Conv4s
from inner_loop.networks.mlp import MLP, MLPs
from inner_loop.transformer import RuleFeatures
from unsupervised_update_rules.commands import apply_rule, evaluate
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import PRETRAINED, RuleHeader, load_rule, read_header, save_rule

NETWORK = {"name": "mlp", "options": {"hidden": [[7]], "outputs": 3, "activations": ["winners_linear"]}}
USE = {"network": NETWORK, "steps": 2, "batch": 8}


def header(**use: Any) -> RuleHeader:
    return RuleHeader("2", "hebbian", {}, {}, "rule file mine", use)


def test_given_settings_go_before_those_of_the_file_and_these_before_the_usual() -> None:
    assert settings_of(None, {}) == settings_of(header(), {"hidden": None}) == InnerSettings()
    assert settings_of(header(**USE), {}) == InnerSettings(MLPs(((7,),), 3, ("winners_linear",)), 2, 8)
    given = {"hidden": [4, 6], "outputs": 5, "activation": "tanh", "steps": 0, "batch": 9}
    assert settings_of(header(**USE), given) == InnerSettings(MLPs(((4, 6),), 5, ("tanh",)), 0, 9)
    no_hidden = {"name": "mlp", "options": {"hidden": [[]]}}
    found = settings_of(header(network=no_hidden, steps=9), {"steps": 0})
    assert found == InnerSettings(MLPs(hidden=((),)), steps=0)
    images = {"name": "conv4", "options": {"filters": 3}}
    assert settings_of(header(network=images), {"steps": 1}) == InnerSettings(Conv4s(filters=3), 1)


def test_the_base_network_is_the_first_of_its_family_for_inputs_and_logits() -> None:
    settings = InnerSettings(MLPs(((7,), (6, 5)), 3, ("tanh", "relu")))
    assert settings.base_network(9) == MLP((9, 7, 3), "tanh")
    assert settings.base_network(9, 4) == MLP((9, 7, 4), "tanh")
    assert InnerSettings(Conv4s(filters=3)).base_network(16, 4) == Conv4(4, 1, 3, "stride", 4)


def of_network(**options: Any) -> dict[str, Any]:
    return {"network": {"name": "mlp", "options": options}}


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ({"width": 3}, "says that its rule is used with width 3, expected nothing but network, steps, batch"),
        ({"network": 3}, "says that its rule is used with network 3, expected a name and options"),
        ({"network": {"name": "mlp"}}, "says that its rule is used with network {'name': 'mlp'}, expected a name"),
        ({"network": {"name": "mpl", "options": {}}}, "got network 'mpl', expected one of mlp, conv4"),
        ({"steps": 1.5}, "says that its rule is used with steps 1.5, expected a whole number of 0 or more"),
        ({"steps": True}, "says that its rule is used with steps True, expected a whole number of 0 or more"),
        ({"steps": -1}, "says that its rule is used with steps -1, expected a whole number of 0 or more"),
        ({"batch": 1}, "says that its rule is used with batch 1, expected a whole number of 2 or more"),
        (of_network(width=3), "network mlp: got option 'width', expected one of hidden, outputs, activations"),
        (of_network(hidden=3), "network mlp: got hidden=3, expected "),
        (of_network(hidden=[[0]]), "network mlp: got hidden=[[0]], expected "),
        (of_network(hidden=[]), "network mlp: got hidden=[], expected "),
        (of_network(outputs=[3]), "network mlp: got outputs=[3], expected "),
        (of_network(outputs=0), "network mlp: got outputs=0, expected "),
        (of_network(activations=["no"]), "network mlp: got activations=['no'], expected "),
    ],
)
def test_a_file_that_says_what_is_no_setting_is_refused(use: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^rule file mine: {re.escape(message)}") as caught:
        settings_of(header(**use), {})
    assert "\n" not in str(caught.value)


def test_a_network_without_the_setting_that_was_given_is_named() -> None:
    with pytest.raises(ValueError, match="rule file mine: network conv4: got option 'hidden', expected one of filters"):
        settings_of(header(network={"name": "conv4", "options": {}}), {"hidden": [7]})


@pytest.mark.parametrize("name", [file.stem for file in PRETRAINED.glob("*.safetensors")])
def test_every_pretrained_rule_says_what_it_is_used_with(name: str) -> None:
    said = read_header(name).use
    assert {"network", "steps", "normalisation", "readout"} <= said.keys()
    expected = {"mlp": {"hidden", "outputs", "activations"}, "none": set()}
    assert said["network"]["options"].keys() == expected[said["network"]["name"]]
    settings = settings_of(read_header(name), {})
    assert [settings.network.first_options(), settings.steps] == [said["network"]["options"], said["steps"]]


def test_the_transformer_and_the_script_use_a_rule_as_its_file_says(tmp_path: Path) -> None:
    path = tmp_path / "rule.safetensors"
    save_rule(path, Hebbian(), {}, USE)
    x = np.random.default_rng(0).random((30, 5), np.float32)
    said = RuleFeatures(path, random_state=0).fit(x)
    assert said.network_.problem.network == MLP((5, 7, 3), "winners_linear")
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
    assert load_network(network).problem.network.sizes == (5, 7, 3)
    with np.load(out) as written:
        np.testing.assert_allclose(written["features"], said.transform(x), rtol=1e-5)
    assert apply_rule.main([*argv, "--hidden", "4", "6", "--steps", "1"]) == 0
    assert load_network(network).problem.network.sizes == (5, 4, 6, 3)
    with pytest.raises(ValueError, match="got --network-in and --steps, expected one of them"):
        apply_rule.main(["--network-in", str(network), *argv[2:6], "--steps", "1"])


@pytest.mark.parametrize("ablate", [[], ["--ablate"]], ids=["plain", "ablate"])
def test_the_judging_script_uses_a_rule_as_its_file_says_and_writes_that_down(
    ablate: list[str], tmp_path: Path
) -> None:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"seed": 0}, USE)
    argv = ["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits", "--ways", "2", "--shots", "2", "--tasks"]
    argv += ["2", "--size", "4", "--baselines", "none", *ablate]
    found = {}
    for name, others in (("said", []), ("given", ["--hidden", "4", "--batch", "9"])):
        assert evaluate.main([*argv, *others, "--json", str(tmp_path / name)]) == 0
        found[name] = json.loads((tmp_path / name).read_text())["meta"]
    said = {"hidden": [7], "outputs": 3, "activation": "winners_linear", "steps": 2, "batch": 8}
    assert said.items() <= found["said"].items()
    assert (said | {"hidden": [4], "batch": 9}).items() <= found["given"].items()


def test_parts_of_a_rule_are_not_told_apart_before_the_first_inner_step(tmp_path: Path) -> None:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"seed": 0}, USE | {"steps": 0})
    with pytest.raises(ValueError, match="got 0 inner steps, expected 1 or more"):
        evaluate.main(["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits", "--ablate"])
