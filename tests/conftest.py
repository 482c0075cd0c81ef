"""Fixtures that several test files share."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rule_states import made

from examples import RULES as EXAMPLES
from examples import RuleExample
from update_rules.contract import Problem, Rule

TINY = """
seed: 3
outer_steps: 6
tracking: "off"
checkpoint_every: 2
rule: {name: neuron_local, options: {hidden: 4, error_channels: 2, readout_channels: 1}}
network: {name: mlp, options: {hidden: [[6], [5, 6]], outputs: 4, activations: [relu, tanh]}}
tasks: {sources: [digits], size: 4, ways: 3, shots: 3, queries: 3, batch: 16}
inner: {unroll: [2, 3], length: [3, 6], read_every: 2}
outer: {tasks_per_step: 4, warmup: 2}
evaluation: {every: 3, sources: [digits], tasks: 2, shots: 3, probes: ridge, steps: 4, read_every: 2}
report: {sources: [], tasks: 2, steps: 4}
"""


@pytest.fixture(params=EXAMPLES, ids=lambda one: one.name)
def example(request: pytest.FixtureRequest) -> RuleExample:
    found: RuleExample = request.param
    return found


@pytest.fixture
def rule(example: RuleExample) -> Rule:
    return made(example)


@pytest.fixture
def problem(example: RuleExample) -> Problem:
    return Problem.of(example.network)


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., list[str]]:
    """Command-line arguments of a run of seconds: ``tiny_config("name", "key=value", ...)`` runs in tmp_path/name."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")

    def arguments(name: str, *overrides: str) -> list[str]:
        return ["--config", str(path), f"run_dir={tmp_path / name}", *overrides]

    return arguments


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module of one's own where Python finds it, and gives its name: ``own_module(code)``."""
    folder = tmp_path / "own"
    folder.mkdir()
    name = re.sub(r"\W", "_", f"own_{tmp_path.name}")
    monkeypatch.syspath_prepend(str(folder))

    def written(code: str) -> str:
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        return name

    yield written
    sys.modules.pop(name, None)
