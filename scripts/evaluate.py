# python scripts/evaluate.py --rule runs/quickstart/rule.safetensors --data digits mnist5k
# python scripts/evaluate.py --rule FILE --data npz:FILE@test --ways 5 --shots 1 --json results.json --plot results.png
"""Compare an update rule with its untrained self, a random network, the raw inputs and PCA by few-shot accuracy.

Every method sees the same tasks, and a table of means with 95 % intervals is printed. Parts of data such as @test are
those that the rule's own training seed gives, so that what it was trained on stays out.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from inner_loop.activations import ACTIVATIONS
from outer_loop.evaluation import InnerTraining, evaluate
from outer_loop.plots import accuracy_bars, save_png
from outer_loop.results import environment, results_table, summarise, write_results
from scripts.arguments import Parser, at_least, different, threads, writable
from scripts.entry import run
from scripts.progress import progress
from tasks.sources import load_source
from tasks.task import TaskSource
from update_rules.rule_file import RuleHeader, load_rule, read_header


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", required=True, metavar="FILE", help="rule file, or the name of a pretrained rule")
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument("--shots", type=at_least(1), default=10, help="labelled examples of each class (default 10)")
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=100, help="tasks from each source (default 100)")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_argument("--hidden", type=at_least(1), nargs="*", default=[64, 64], metavar="N", help="hidden units")
    parser.add_argument("--outputs", type=at_least(1), default=32, metavar="N", help="features (default 32)")
    parser.add_argument("--activation", choices=list(ACTIVATIONS), default="relu")
    parser.add_argument("--steps", type=at_least(0), default=50, metavar="K", help="inner steps (default 50)")
    parser.add_argument("--batch", type=at_least(2), default=64, metavar="B", help="examples a step (default 64)")
    parser.add_argument(
        "--permute", action=argparse.BooleanOptionalAction, default=True, help="inputs in another order in each task"
    )
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the tasks and the starting networks")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows, paired differences and settings here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table here")
    arguments = parser.parse_args(argv)
    twice = {source for source in arguments.data if arguments.data.count(source) > 1}
    if twice:
        parser.error(f"got --data {' '.join(sorted(twice))} more than once, expected different sources")
    return arguments


def split_seed(header: RuleHeader) -> int:
    """The seed that told training data from test data where the rule was trained; 0 if its file does not say."""
    seed = header.provenance.get("seed", "0")
    return int(seed) if seed.isdecimal() else 0


def settings(arguments: argparse.Namespace, header: RuleHeader) -> dict[str, Any]:
    """What else a reader of the results may ask for, beside the environment."""
    names = ("queries", "size", "hidden", "outputs", "activation", "steps", "batch", "permute")
    return {
        "rule_file": arguments.rule,
        "rule": header.rule,
        "rule_provenance": header.provenance,
        **{name: getattr(arguments, name) for name in names},
        "split_seed": split_seed(header),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, print the table, and write what was asked for."""
    arguments = parse(argv)
    writable(arguments.json)
    writable(arguments.plot)
    different(json=arguments.json, plot=arguments.plot)
    torch.set_num_threads(arguments.threads)
    rule, header = load_rule(arguments.rule), read_header(arguments.rule)
    sources = {
        name: TaskSource(
            tuple(load_source(name, size=arguments.size, seed=split_seed(header))),
            arguments.ways,
            arguments.shots,
            arguments.queries,
            arguments.permute,
        )
        for name in arguments.data
    }
    inner = InnerTraining(
        tuple(arguments.hidden), arguments.outputs, arguments.activation, arguments.steps, arguments.batch
    )
    started = time.perf_counter()
    with progress("networks trained", 2 * arguments.tasks * len(sources)) as advance:
        found = evaluate(rule, sources, inner, tasks=arguments.tasks, seed=arguments.seed, progress=advance)
    seconds = round(time.perf_counter() - started, 1)
    meta = {**settings(arguments, header), **environment(), "seconds": seconds}
    results = summarise(found, sources, seed=arguments.seed, meta=meta)
    console = Console()
    if not console.is_terminal:  # a file has room for every column
        console = Console(width=60 + sum(max(len(source), 10) + 20 for source in sources))
    console.print(results_table(results))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        save_png(accuracy_bars(results), arguments.plot)
    return 0


if __name__ == "__main__":
    run(main)
