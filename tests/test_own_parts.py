"""A rule, a readout, an estimator and a labeller of one's own, in a module beside a config, from training to use."""

import sys
from pathlib import Path

import pytest
import torch
from conftest import TINY
from runs import REPORT, command, finish, kill_after, last_state, theta

from outer_loop.config.file import load_config
from unsupervised_update_rules.commands import meta_train
from update_rules.rule_file import read_header

MODULE = '''
"""Parts that the trainer knows nothing of."""

import torch
from torch import nn

from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.readouts.contract import Readout
from tasks.labellers.contract import Labeller
from update_rules.contract import Rule


class Pull(Rule):
    """Weights of the first layer are pulled towards what its units answer."""

    name = "pull"

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__()
        self.config = {"rate": rate}
        self.rate = nn.Parameter(torch.tensor(rate))

    def init_state(self, problem, generator):
        return {name: torch.randn(shape, generator=generator) for name, shape in problem.network.shapes.items()}

    def step(self, problem, state, views, phase):
        x = views["unlabelled"]
        answers = problem.network.forward(state, x).x[1]
        return {**state, "w1": state["w1"] + self.rate * x.mT @ answers / len(x)}


class Near(Readout):
    """Distances to class means, not squared."""

    def __init__(self, sharpness: float = 1.0) -> None:
        self.sharpness = sharpness

    def scores(self, support, y_support, query, ways):
        members = (y_support[:, None] == torch.arange(ways)).to(support.dtype)
        means = members.mT @ support / members.sum(0)[:, None]
        return -self.sharpness * (((query[:, None] - means) ** 2).sum(-1) + 1e-6).sqrt()


class Slowing(TruncatedBackprop):
    """A gradient that is divided by how many there were, which its memory counts."""

    def estimate(self, rule, theta, unrolls, memory):
        found = super().estimate(rule, theta, unrolls, memory)
        found.memory = {"steps": memory.get("steps", torch.zeros(())) + 1}
        found.direction = {name: value / found.memory["steps"] for name, value in found.direction.items()}
        return found


class Turned(Labeller):
    """Every label is the next one."""

    def __init__(self, by: int = 1) -> None:
        self.by = by

    def labels(self, labels, generator):
        return (labels + self.by) % (int(labels.max()) + 1)
'''

OVERRIDES = (
    "rule={name: 'my_parts:Pull', options: {rate: 0.2}}",
    "outer.readout={name: 'my_parts:Near', options: {sharpness: 2}}",
    "outer.estimator=my_parts:Slowing",
    "tasks.labeller={name: 'my_parts:Turned', options: {by: 2}}",
    "outer_steps=8",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a config and a module, in which Python now works."""
    (tmp_path / "my_parts.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("my_parts", None)


@pytest.mark.thorough
def test_parts_of_ones_own_train_resume_and_are_evaluated_where_they_are_trusted(folder: Path) -> None:
    arguments = ["--config", "tiny.yaml", *OVERRIDES, REPORT]
    killed, whole = folder / "runs" / "killed", folder / "runs" / "whole"
    kill_after(killed, 3, command("meta_train", [*arguments, "run_dir=runs/killed"], folder), 8)
    finish(command("meta_train", [*arguments, "run_dir=runs/killed", "--resume"], folder))
    assert meta_train.main([*arguments, "run_dir=runs/whole"]) == 0
    assert (killed / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert (killed / "rule.safetensors").read_bytes() == (whole / "rule.safetensors").read_bytes()
    assert torch.equal(theta(killed)["rate"], theta(whole)["rate"])
    assert theta(killed)["rate"] != 0.2
    for run in (killed, whole):
        assert last_state(run)["memory"] == {"steps": torch.tensor(8.0)}
        assert (run / "report" / "index.html").exists()
    config = load_config(whole / "config.yaml")
    assert (config.outer.estimator.name, config.tasks.labeller.options) == ("my_parts:Slowing", {"by": 2})
    header = read_header(whole / "rule.safetensors")
    assert (header.rule, header.use["readout"]["name"]) == ("my_parts:Pull", "my_parts:Near")

    told = ["--rule", "runs/whole/rule.safetensors", "--data", "digits", "--tasks", "2", "--baselines", "none"]
    refused = command("evaluate", told, folder)
    out, err = refused.communicate(timeout=120)
    assert (refused.returncode, out) == (2, "")
    assert err.startswith("error: rule file runs/whole/rule.safetensors: needs the rule my_parts:Pull, so the module")
    assert err.endswith("add --trust my_parts (in Python trust=['my_parts'])\n")
    assert err.count("\n") == 1
    out, _ = finish(command("evaluate", [*told, "--trust", "my_parts", "--readout", "own", "ridge"], folder))
    assert [line.split()[1:4:2] for line in out.splitlines() if line.startswith("│ rule")] == [
        ["rule", "own"],
        ["rule", "ridge"],
    ]


def test_a_rule_of_ones_own_goes_on_from_its_file_where_the_config_names_it(folder: Path) -> None:
    arguments = ["--config", "tiny.yaml", *OVERRIDES[:2], "outer_steps=2"]
    assert meta_train.main([*arguments, "run_dir=runs/first"]) == 0
    start = "rule.pretrained=runs/first/rule.safetensors"
    assert meta_train.main([*arguments, "run_dir=runs/next", start]) == 0
    assert read_header("runs/next/rule.safetensors").provenance["started_from"] == "runs/first/rule.safetensors"
    with pytest.raises(ValueError, match="needs the rule my_parts:Pull, so the module my_parts, whose code would run"):
        meta_train.main(["--config", "tiny.yaml", "run_dir=runs/other", start])
    assert not Path("runs/other").exists()
