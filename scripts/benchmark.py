"""Time the fixed workloads: this program beside a naive loop and JAX, and all beside the arithmetic they need.

    python scripts/benchmark.py [WORKLOAD ...] [--json]

Every implementation runs in a process of its own. JAX takes part where it is installed
(``pip install -r requirements-benchmark.txt``), after a check of its results. The floor is the multiply-adds of forward
and backward over the rate of matrix products measured in the same process.
"""

import argparse
import json
from collections.abc import Sequence

from benchmarks.measure import alone, check_jax, implementations, measure
from benchmarks.workloads import WORKLOADS
from scripts.arguments import Parser, at_least, threads
from scripts.entry import run


def _workload(text: str) -> str:
    if text not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected one of {', '.join(WORKLOADS)}")
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the workloads named in ``argv`` and print a line for each implementation; the exit code."""
    parser = Parser(description="Time the fixed workloads.")
    names = ", ".join(WORKLOADS)
    parser.add_argument("workloads", nargs="*", type=_workload, metavar="WORKLOAD", help=f"of {names}; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--threads", type=threads, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repeats", type=at_least(1), default=7, help="timed runs after the first (default 7)")
    parser.add_argument("--recompute", action="store_true", help="run each step again in the backward pass")
    given = parser.parse_args(argv)
    checked: set[str] = set()
    if not given.json:
        print("workload  implementation  median s   first s  steps·tasks/s   floor s  × floor   peak MB")
    for name in given.workloads or WORKLOADS:
        for implementation in implementations():
            if implementation == "jax":
                alone(check_jax, name, given.threads, WORKLOADS[name].rule not in checked)
                checked.add(WORKLOADS[name].rule)
            found = alone(measure, name, implementation, given.threads, given.repeats, given.recompute)
            if given.json:
                print(json.dumps(found), flush=True)
            else:
                print(
                    f"{name:<8}  {implementation:<14}  {found['median_s']:8.3f}  {found['first_s']:8.3f}  "
                    f"{found['steps_tasks_per_s']:13.1f}  {found['floor_s']:8.3f}  {found['ratio_to_floor']:7.2f}  "
                    f"{found['peak_rss_mb']:8.0f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    run(main)
