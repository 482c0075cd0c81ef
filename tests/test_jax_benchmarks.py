"""The JAX versions that the benchmark times compute what this program computes. Skipped where JAX is not installed."""

import pytest

jax = pytest.importorskip("jax")

from benchmarks.jax_check import check_workload  # noqa: E402
from benchmarks.workloads import Workload, prepare  # noqa: E402

SMALL = {"outputs": 4, "hidden": 4, "top_hidden": 4, "delta_channels": 3, "readout_channels": 2}


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize(("rule", "options"), [("metz", SMALL), ("neuron_local", {"hidden": 4})])
def test_a_workload_gives_what_this_program_gives(rule: str, options: dict[str, int], apply: bool) -> None:
    check_workload(prepare(Workload(rule, (9, 6, 4), 8, 2, 2, options, apply)))
