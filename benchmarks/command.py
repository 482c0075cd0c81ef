"""What ``scripts/benchmark.py`` does: time the fixed workloads.

Every implementation runs in a process of its own. On a CPU, JAX takes part where it is installed
(``pip install -r requirements-benchmark.txt``), after a check of its results. The floor is the multiply-adds of forward
and backward over the rate of matrix products measured in the same process.
"""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import alone, check_jax, implementations, measure
from benchmarks.workloads import WORKLOADS
from outer_loop.run.processes import ALONE
from unsupervised_update_rules.commands.arguments import Parser, at_least, threads

COLUMNS = {
    "workload": ("workload", "<8", ""),
    "implementation": ("implementation", "<14", ""),
    "median_s": ("median s", ">9", ".4f"),
    "first_s": ("first s", ">9", ".3f"),
    "steps_tasks_per_s": ("steps·tasks/s", ">13", ".1f"),
    "floor_s": ("floor s", ">8", ".4f"),
    "ratio_to_floor": ("× floor", ">8", ".2f"),
    "peak_rss_mb": ("peak MB", ">8", ".0f"),
}
ON_A_GPU = {"peak_device_mb": ("GPU MB", ">8", ".0f")}
ERROR = {"gradient_error": ("gradient error", ">14", ".1e"), "one_minus_cosine": ("1 - cosine", ">10", ".1e")}
"""Key, title, width and format of each column."""


def _workload(text: str) -> str:
    if text not in WORKLOADS:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected one of {', '.join(WORKLOADS)}")
    return text


def _line(found: dict[str, Any], columns: dict[str, tuple[str, str, str]]) -> str:
    """The figures ``found`` of one implementation in ``columns``; what does not exist is a dash."""
    return "  ".join(
        f"{'-' if found[key] is None else format(found[key], form):{width}}"
        for key, (_, width, form) in columns.items()
    )


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description="Time the fixed workloads.")
    names = ", ".join(WORKLOADS)
    parser.add_argument("workloads", nargs="*", type=_workload, metavar="WORKLOAD", help=f"of {names}; default all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--threads", type=threads, default=1, help="CPU threads (default 1)")
    parser.add_argument("--repeats", type=at_least(1), default=7, help="timed runs after the first (default 7)")
    parser.add_argument("--recompute", action="store_true", help="run each step again in the backward pass")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to run (default cpu)")
    parser.add_argument(
        "--precision", choices=["highest", "high", "medium"], default="highest", help="of float32 products"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile this program's inner step")
    parser.add_argument("--error", action="store_true", help="also compare the gradient with one in float64")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the workloads named in ``argv`` and print a line for each implementation; the exit code."""
    given = make_parser().parse_args(argv)
    ALONE.device(given.device)
    columns = COLUMNS | (ON_A_GPU if given.device == "cuda" else {}) | (ERROR if given.error else {})
    if not given.json:
        print("  ".join(f"{title:{width}}" for title, width, _ in columns.values()))
    for name in given.workloads or WORKLOADS:
        for implementation in implementations(name, given.device):
            if implementation == "jax":
                alone(check_jax, name, given.threads)
            found = alone(measure, name, implementation, given)
            print(json.dumps(found) if given.json else _line(found, columns), flush=True)
    return 0
