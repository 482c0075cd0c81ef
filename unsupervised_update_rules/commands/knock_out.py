"""What a rule needs: its accuracy, on the same tasks, with one part at a time switched off and not retrained.

Or, by --others, the accuracy of rules whose training had another setting; their folders say which.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.table import Table

from common.atomic_file import atomic_write
from evaluation.ablation import knock_outs
from evaluation.evaluation import InnerTraining, measure_rule
from evaluation.results import environment
from evaluation.results_table import percent
from evaluation.statistics import mean_over_tasks, paired_difference
from experiment.pages.stored_results import rule_label
from inner_loop.inner_settings import SETTINGS
from outer_loop.config.file import changed_settings
from tasks.data.sources import load_source
from tasks.task import TaskSource
from unsupervised_update_rules.commands.arguments import (
    Parser,
    at_least,
    command,
    fill_in_base_network,
    threads,
    writable,
)
from unsupervised_update_rules.commands.evaluate import split_seed
from unsupervised_update_rules.commands.terminal import print_table, progress
from update_rules.contract import Rule
from update_rules.rule_file import find_rule_file, read_rule


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", required=True, metavar="FILE", help="rule file, or the name of a pretrained rule")
    parser.add_argument("--others", nargs="+", metavar="FILE", help="rule files to compare with instead of its parts")
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument("--shots", type=at_least(1), default=10, help="labelled examples of each class (default 10)")
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=30, help="tasks from each source (default 30)")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_base_network()
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the tasks and the starting networks")
    parser.add_device()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the accuracies here, for results_page.py")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rule and its variants, print the table, and write what was asked for."""
    arguments = parse(argv)
    writable(arguments.json)
    torch.set_num_threads(arguments.threads)
    made = environment(arguments.device)  # of the code that is about to run
    rule, header = read_rule(arguments.rule)
    fill_in_base_network(arguments, header)
    if arguments.steps == 0:
        raise ValueError("got 0 inner steps, expected 1 or more: before the first all rules are alike")
    label, seed, others = rule_label(arguments.rule), split_seed(header), arguments.others or []
    variants = trained_otherwise([arguments.rule, *others], rule, seed) if others else with_parts_off(label, rule)
    changed = {rule_label(path): settings_changed(path, arguments.rule) for path in others}
    accuracies = measure(arguments, variants, seed)
    whole = next(iter(accuracies.values()))
    shares = {
        variant: {source: mean_over_tasks(values).value for source, values in by_source.items()}
        for variant, by_source in accuracies.items()
    }
    changes = {
        variant: {source: paired_difference(values, whole[source]) for source, values in by_source.items()}
        for variant, by_source in accuracies.items()
    }
    table = Table("rule", *arguments.data)
    for variant, by_change in changes.items():
        cells = [f"{100 * shares[variant][name]:.1f} ({percent(*change, '+')})" for name, change in by_change.items()]
        table.add_row(variant, *cells)
    print_table(table, width=60 + 40 * len(arguments.data))
    if arguments.json is not None:
        rows = [
            {
                "name": variant,
                "overrides": changed.get(variant, []),
                "command": command("knock_out", argv),
                "made": made | {name: getattr(arguments, name) for name in ("tasks", "seed", *SETTINGS)},
                "accuracy": shares[variant],
                "change": changes[variant],
            }
            for variant in accuracies
        ]
        with atomic_write(arguments.json) as file:
            file.write((json.dumps({"ablations": rows}, indent=1) + "\n").encode())
    return 0


def with_parts_off(label: str, rule: Rule) -> dict[str, Rule]:
    """The ``rule`` called ``label``, and what ``knock_outs`` makes of it."""
    return {f"{label}, whole": rule} | {f"{label}, without {part}": variant for part, variant in knock_outs(rule)}


def trained_otherwise(paths: Sequence[str], rule: Rule, seed: int) -> dict[str, Rule]:
    """The ``rule`` of training seed ``seed`` at the first of ``paths``, and those to compare it with at the others.

    Raises ValueError for names twice, and where another training seed could have put test data into training.
    """
    labels = [rule_label(path) for path in paths]
    if len(set(labels)) < len(labels):
        raise ValueError(f"got rules called {', '.join(labels)}; rename some")
    others = [read_rule(path) for path in paths[1:]]
    seeds = [seed, *(split_seed(header) for _, header in others)]
    if len(set(seeds)) > 1:
        found = ", ".join(f"{one} of {path}" for one, path in zip(seeds, paths, strict=True))
        raise ValueError(f"got rules of training seeds {found}, expected one seed, which splits data; see evaluate.py")
    return dict(zip(labels, [rule, *(other for other, _ in others)], strict=True))


def settings_changed(path: str, whole: str) -> list[str]:
    """What the training of the rule at ``path`` set otherwise than that of ``whole``; empty if no run lies beside."""
    configs = [find_rule_file(one).parent / "config.yaml" for one in (path, whole)]
    return changed_settings(*configs) if all(config.exists() for config in configs) else []


def measure(
    arguments: argparse.Namespace, variants: Mapping[str, Rule], seed: int
) -> dict[str, dict[str, list[float]]]:
    """The accuracy of each variant on each task, by variant and source; ``seed`` splits the data."""
    inner = InnerTraining(arguments.hidden, arguments.outputs, arguments.activation, arguments.steps, arguments.batch)
    sources = {}
    for name in arguments.data:
        data = tuple(load_source(name, size=arguments.size, seed=seed))
        sources[name] = TaskSource(data, arguments.ways, arguments.shots, arguments.queries, permute=True)
    accuracies: dict[str, dict[str, list[float]]] = {}
    with progress("tasks done by a variant", len(variants) * len(sources) * arguments.tasks) as advance:
        for variant, rule in variants.items():
            rule.to(arguments.device)
            for name, source in sources.items():
                found = measure_rule(
                    rule,
                    source,
                    inner,
                    read_points=[arguments.steps],
                    tasks=arguments.tasks,
                    seed=arguments.seed,
                    progress=advance,
                )
                accuracies.setdefault(variant, {})[name] = found.by_step[arguments.steps]
    return accuracies
