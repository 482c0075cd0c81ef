"""Time and memory of outer steps of several configs, each in a process of its own, in turns: a step of each, then the
next of each, so that whatever else the machine does slows all of them.

The first run is what the others are compared with. All outer steps of a config take its median times their number.
Memory is the most that a process has had, with PyTorch and data.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from common.atomic_file import write_json
from evaluation.results import environment
from experiment.cost import cost_in_turns
from outer_loop.config.file import load_config
from outer_loop.config.schema import Config
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, keeps, writable
from unsupervised_update_rules.commands.terminal import print_table, progress

FEWEST = 3
"""Outer steps of which a median says something."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="a name, a config, and settings that differ from it as key=value; once for each run",
    )
    parser.add_argument(
        "--outer-steps", type=at_least(FEWEST), default=15, metavar="N", help="timed outer steps of each (default 15)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured here")
    return parser


def runs_of(words: Sequence[Sequence[str]]) -> dict[str, Config]:
    """The checked config of each run by its name. Raises ValueError for too few words, and for a name given twice."""
    configs: dict[str, Config] = {}
    for name, *others in words:
        if not others or name in configs:
            what = "nothing behind it" if not others else "a name that another has"
            raise ValueError(f"got --run {name} with {what}, expected --run NAME CONFIG [key=value ...]")
        configs[name] = load_config(others[0], others[1:])
    return configs


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the runs, print a line for each, and write what was asked for."""
    arguments = make_parser().parse_args(argv)
    writable(arguments.json)
    for _, config, *_ in arguments.run if all(len(words) > 1 for words in arguments.run) else []:
        keeps(config, json=arguments.json)
    configs = runs_of(arguments.run)
    with progress("outer steps of each", arguments.outer_steps) as advance:
        costs = cost_in_turns(configs, arguments.outer_steps, lambda step: advance(1))
    if arguments.json is not None:
        found = {
            "meta": {"command": command("compare_cost", argv), **environment()},
            "costs": {name: asdict(cost) for name, cost in costs.items()},
        }
        write_json(arguments.json, found)
    first = next(iter(costs.values()))
    table = Table("run", "seconds", "times the first", "all outer steps", "MiB", "times the first")
    for name, cost in costs.items():
        time, memory = cost.median / first.median, cost.peak_mib / first.peak_mib
        seconds = (f"{cost.median:.3f}", f"{time:.2f}", f"{cost.whole:.0f}")
        table.add_row(name, *seconds, f"{cost.peak_mib:.0f}", f"{memory:.2f}")
    print_table(table, 100)
    return 0
