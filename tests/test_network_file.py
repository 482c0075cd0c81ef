"""The file of a trained base network: it embeds as the one in memory, and nothing else is accepted."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from common.tensor_file import file_header
from examples import RULES as EXAMPLES
from examples import RuleExample
from inner_loop.network_file import load_network, save_network
from inner_loop.trained_network import TrainedNetwork
from inner_loop.transformer import RuleFeatures
from update_rules.contract import Problem
from update_rules.local.hebbian import Hebbian
from update_rules.registry import RULES, make_rule
from update_rules.rule_file import save_rule


def table(n: int = 40, inputs: int = 5) -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(n, inputs))


def fitted(**settings: Any) -> RuleFeatures:
    rule = Hebbian()
    return RuleFeatures(rule, hidden=(6,), outputs=4, steps=3, random_state=0, **settings).fit(10 * table())


def test_a_saved_network_embeds_as_the_one_in_memory(tmp_path: Path) -> None:
    features = fitted(activation="tanh")
    path = tmp_path / "network.safetensors"
    save_network(path, features.network_)
    loaded, x = load_network(path), 10 * table()
    assert (loaded.embed(torch.from_numpy(x)).numpy() == features.transform(x)).all()
    assert loaded.problem == features.network_.problem
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]
    with pytest.raises(ValueError, match=r"got examples of shape \[2, 9\], expected \[examples, 5\]"):
        loaded.embed(torch.zeros(2, 9))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_network_of_every_rule_comes_back(example: RuleExample, tmp_path: Path) -> None:
    problem = Problem.of(example.network, ways=5, image_shape=(3, 3), normalisation="unlabelled")
    rule = make_rule(example.name, **(RULES.find(example.name).options_for(problem, 3) | example.options))
    draw = torch.Generator().manual_seed(0)
    x, state = torch.rand(8, 9, generator=draw), rule.init_state(problem, draw)
    with torch.no_grad():
        statistics = rule.statistics(problem, state, x)
    offset, scale = torch.rand(2, 9, generator=draw, dtype=torch.float64) + 0.5
    trained = TrainedNetwork(rule, problem, state, statistics, offset, scale)
    save_network(tmp_path / "network", trained)
    assert file_header(tmp_path / "network", "network")["rule"] == example.name
    loaded = load_network(tmp_path / "network", trust=[type(rule).__module__])
    assert type(loaded.rule) is type(rule)
    assert loaded.rule.config == rule.config
    assert loaded.problem == problem
    assert torch.equal(loaded.embed(x), trained.embed(x))


OWN = """
from dataclasses import dataclass

from inner_loop.networks.mlp import MLP, MLPs
from update_rules.local.hebbian import Hebbian


class Mine(Hebbian):
    name = "mine"


@dataclass(frozen=True)
class Wide(MLP):
    kind = f"{__name__}:Wides"


@dataclass(frozen=True)
class Wides(MLPs):
    member = Wide

    def first(self, inputs, logits):
        return Wide((inputs, 50, logits or self.outputs))
"""


@pytest.mark.parametrize("own", ["rule", "network"])
def test_a_rule_or_network_of_ones_own_comes_back_where_its_module_is_trusted(
    own: str, own_module: Callable[[str], str], tmp_path: Path
) -> None:
    module = own_module(OWN)
    rule = make_rule(f"{module}:Mine" if own == "rule" else "hebbian")
    network = {"name": f"{module}:Wides" if own == "network" else "mlp", "options": {"outputs": 4}}
    save_rule(tmp_path / "rule", rule, {}, {"network": network, "steps": 1})
    features = RuleFeatures(tmp_path / "rule", trust=[module], random_state=0).fit(table())
    assert (type(features.network_.rule).__module__ == module) == (own == "rule")
    assert (features.network_.problem.network.sizes == (5, 50, 4)) == (own == "network")
    path, expected = tmp_path / "network", features.transform(table())
    save_network(path, features.network_)
    header = file_header(path, "network")
    assert header["rule"] == (f"{module}:Mine" if own == "rule" else "hebbian")
    assert json.loads(header["network"])["kind"] == (f"{module}:Wides" if own == "network" else "mlp")
    sys.modules.pop(module)
    for read in (lambda: load_network(path), lambda: RuleFeatures(tmp_path / "rule").fit(table())):
        with pytest.raises(
            ValueError, match=rf"needs the {own} {module}:\w+, so the module {module}, .*--trust {module}"
        ):
            read()
        assert module not in sys.modules
    loaded = load_network(path, trust=[module])
    assert (loaded.embed(torch.from_numpy(table())).numpy() == expected).all()


def test_damaged_and_foreign_network_files_are_one_clear_line(tmp_path: Path) -> None:
    good = tmp_path / "network.safetensors"
    save_network(good, fitted().network_)
    tensors, header = load_file(good), file_header(good, "network")
    network, problem = json.loads(header["network"]), json.loads(header["problem"])

    def having(**changes: Any) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        return tensors, header | {name: json.dumps(value) for name, value in changes.items()}

    def times(name: str, factor: float) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        return tensors | {name: tensors[name] * factor}, header

    def without(name: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        return {key: value for key, value in tensors.items() if key != name}, header

    nan, bare = float("nan"), {"format": "base_network", "version": "3"}
    longer = tensors | {"inputs/scale": torch.ones(6, dtype=torch.float64)}
    cases: dict[str, tuple[bytes | tuple[dict[str, torch.Tensor], dict[str, str]], str]] = {
        "cut": (good.read_bytes()[:-8], "damaged or not safetensors"),
        "empty": (b"", "damaged or not safetensors"),
        "foreign": ((tensors, {}), "got a file of format None, expected 'base_network'"),
        "older": ((tensors, header | {"version": "1"}), "got version '1', expected '3'"),
        "newer": ((tensors, header | {"version": "9"}), "got version '9', expected '3'"),
        "no_header": ((tensors, bare), r"damaged header \('rule'\)"),
        "no_json": ((tensors, header | {"network": "{"}), "damaged header"),
        "deep": ((tensors, header | {"network": "[" * 100_000}), "damaged header"),
        "no_dict": (having(network=[1]), "damaged header"),
        "no_rule": ((tensors, header | {"rule": "hebian"}), r"damaged header \(got rule 'hebian', .*mean hebbian"),
        "no_option": (having(config={"rte": 1.0}), "damaged header .*did you mean rate"),
        "no_network": (having(network=None), "damaged header"),
        "no_kind": (having(network=network | {"kind": "mpl"}), r"damaged header \(got network 'mpl'"),
        "no_problem": (having(problem={}), "damaged header"),
        "odd_problem": (having(problem=problem | {"more": 1}), "damaged header"),
        "inputs": (having(problem=problem | {"inputs": 7}), "damaged header"),
        "no_inputs": (having(problem=problem | {"inputs": 0}), "damaged header"),
        "activation": (having(network=network | {"activation": "sin"}), r"damaged header \(got activation 'sin'"),
        "huge": (having(network=network | {"sizes": [5, 10**12, 4]}), "a network larger than the file"),
        "shape": (having(network=network | {"sizes": [5, 7, 4]}), r"state: w1 is torch.float32 \[5, 6\]"),
        "no_state": (without("state/b1"), r"state: tensors missing \['b1'\]"),
        "no_theta": (without("theta/slope"), r"theta: tensors missing \['slope'\]"),
        "no_statistics": (without("statistics/var2"), r"statistics: tensors missing \['var2'\]"),
        "no_scale": (without("inputs/scale"), r"inputs: tensors missing \['scale'\]"),
        "scale": ((longer, header), r"inputs: scale is torch.float64 \[6\], expected torch.float64 \[5\]"),
        "state_nan": (times("state/w1", nan), "state: w1 has NaN or infinite numbers"),
        "theta_nan": (times("theta/slope", nan), "theta: slope has NaN or infinite numbers"),
        "statistics_nan": (times("statistics/mean1", nan), "statistics: mean1 has NaN or infinite numbers"),
    }
    for name, (content, message) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            save_file(content[0], path, content[1])
        with pytest.raises(ValueError, match=message) as caught:
            load_network(path)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(f"base network file {path}: ")
    with pytest.raises(FileNotFoundError, match=r"base network file .*none\.safetensors: not found"):
        load_network(tmp_path / "none.safetensors")
    with pytest.raises(OSError, match="cannot write"):
        save_network(tmp_path / "no" / "network.safetensors", load_network(good))
