"""Fixtures that several test files share."""

from collections.abc import Callable
from pathlib import Path

import pytest

TINY = """
seed: 3
outer_steps: 6
tracking: "off"
checkpoint_every: 2
rule: {name: neuron_local, options: {hidden: 4, error_channels: 2, readout_channels: 1}}
network: {hidden: [[6], [5, 6]], outputs: 4, activations: [relu, tanh]}
tasks: {sources: [digits], size: 4, ways: 3, shots: 3, queries: 3, batch: 16}
inner: {unroll: [2, 3], length: [3, 6], read_every: 2}
outer: {tasks_per_step: 4, warmup: 2}
evaluation: {every: 3, sources: [digits], tasks: 2, steps: 4, read_every: 2}
report: {sources: [digits], tasks: 2, steps: 4}
"""


@pytest.fixture
def tiny_config(tmp_path: Path) -> Callable[..., list[str]]:
    """Command-line arguments of a run of seconds: ``tiny_config("name", "key=value", ...)`` runs in tmp_path/name."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")

    def arguments(name: str, *overrides: str) -> list[str]:
        return ["--config", str(path), f"run_dir={tmp_path / name}", *overrides]

    return arguments
