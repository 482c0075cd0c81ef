# python scripts/knock_out.py --rule neuron_local --data digits --json docs/results/knock_out_neuron_local.json
"""What a trained rule needs: its accuracy with one part switched off at a time, on the same tasks, not retrained."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.table import Table

from outer_loop.evaluation import InnerTraining, measure_rule
from outer_loop.knock_out import knock_outs
from outer_loop.results import environment
from outer_loop.results_table import percent
from outer_loop.statistics import mean_over_tasks, paired_difference
from outer_loop.stored_results import rule_label
from scripts.arguments import Parser, at_least, command, device, threads, writable
from scripts.entry import run
from scripts.evaluate import split_seed
from scripts.progress import print_table, progress
from tasks.sources import load_source
from tasks.task import TaskSource
from update_rules.atomic_file import atomic_write
from update_rules.contract import Rule
from update_rules.rule_file import load_rule, read_header

WHOLE = "whole"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", required=True, metavar="FILE", help="rule file, or the name of a pretrained rule")
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument("--shots", type=at_least(1), default=10, help="labelled examples of each class (default 10)")
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=30, help="tasks from each source (default 30)")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", default=[64, 64], metavar="N", help="hidden units")
    parser.add_argument("--outputs", type=at_least(1), default=32, metavar="N", help="features (default 32)")
    parser.add_argument("--steps", type=at_least(1), default=100, metavar="K", help="inner steps (default 100)")
    parser.add_argument("--batch", type=at_least(2), default=64, metavar="B", help="examples a step (default 64)")
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the tasks and the starting networks")
    parser.add_argument("--device", type=device, default="cpu", metavar="D", help="where rules run: cpu or cuda")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the accuracies here, for results_page.py")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rule whole and without each part, print the table, and write what was asked for."""
    arguments = parse(argv)
    writable(arguments.json)
    torch.set_num_threads(arguments.threads)
    made = environment()  # of the code that is about to run
    rule, header = load_rule(arguments.rule).to(arguments.device), read_header(arguments.rule)
    variants: dict[str, Rule] = {WHOLE: rule, **dict(knock_outs(rule))}
    inner = InnerTraining(tuple(arguments.hidden), arguments.outputs, "relu", arguments.steps, arguments.batch)
    sources = {}
    for name in arguments.data:
        data = tuple(load_source(name, size=arguments.size, seed=split_seed(header)))
        sources[name] = TaskSource(data, arguments.ways, arguments.shots, arguments.queries, permute=True)
    accuracies: dict[str, dict[str, list[float]]] = {}
    with progress("tasks done by a variant", len(variants) * len(sources) * arguments.tasks) as advance:
        for part, variant in variants.items():
            for name, source in sources.items():
                found = measure_rule(
                    variant,
                    source,
                    inner,
                    read_points=[arguments.steps],
                    tasks=arguments.tasks,
                    seed=arguments.seed,
                    progress=advance,
                )
                accuracies.setdefault(part, {})[name] = found.by_step[arguments.steps]
    name = rule_label(arguments.rule)
    shares = {
        part: {source: mean_over_tasks(values).value for source, values in by_source.items()}
        for part, by_source in accuracies.items()
    }
    changes = {
        part: {source: paired_difference(values, accuracies[WHOLE][source]) for source, values in by_source.items()}
        for part, by_source in accuracies.items()
    }
    table = Table("part", *sources)
    for part in accuracies:
        cells = [
            f"{100 * shares[part][source]:.1f} ({percent(*change, '+')})" for source, change in changes[part].items()
        ]
        table.add_row(_title(name, part), *cells)
    print_table(table, width=60 + 40 * len(sources))
    if arguments.json is not None:
        rows = [
            {
                "name": _title(name, part),
                "overrides": [],
                "command": command("knock_out", argv),
                "made": made | {"tasks": arguments.tasks, "seed": arguments.seed},
                "accuracy": shares[part],
                "change": changes[part],
            }
            for part in accuracies
        ]
        with atomic_write(arguments.json) as file:
            file.write((json.dumps({"ablations": rows}, indent=1) + "\n").encode())
    return 0


def _title(rule: str, part: str) -> str:
    return f"{rule}, {WHOLE}" if part == WHOLE else f"{rule}, without {part}"


if __name__ == "__main__":
    run(main)
