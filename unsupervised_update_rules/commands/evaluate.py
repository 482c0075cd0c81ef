"""Compare an update rule with other ways to features by few-shot accuracy, or these ways alone.

Every method sees the same tasks, and a table of means with 95 % intervals is printed. Parts of data such as @test are
those that the rule's own training seed gives, so that what it was trained on stays out.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from evaluation.baselines.settings import BaselineSettings, read_settings, settings_file
from evaluation.comparison import Progress, compare
from evaluation.evaluation import InnerTraining
from evaluation.methods import BASELINES, MEANING, METHODS, make_methods
from evaluation.probes import READOUT, READOUTS
from evaluation.results import TaskAccuracies, environment, summarise, task_accuracies, write_results
from evaluation.results_table import results_table
from evaluation.sweeps import SWEEPS, Variation, vary
from experiment.report.plots import accuracy_bars, save_png
from experiment.report.sweep_plot import sweep_curves
from tasks.data.sources import load_source
from tasks.task import TaskSource
from unsupervised_update_rules.commands.arguments import (
    Parser,
    at_least,
    command,
    different,
    fill_in_base_network,
    threads,
    writable,
)
from unsupervised_update_rules.commands.terminal import print_table, progress
from update_rules.contract import Rule
from update_rules.rule_file import RuleHeader, read_rule


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", metavar="FILE", help="rule file, or the name of a pretrained rule")
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_argument(
        "--baselines",
        nargs="+",
        default=list(METHODS[1:]),
        metavar="NAME",
        help=f"of {', '.join(BASELINES)}; or all, or none (default {' '.join(METHODS[1:])}; "
        "without --rule, untrained_rule is left out)",
    )
    parser.add_argument(
        "--baseline-settings",
        type=Path,
        metavar="FILE",
        help="YAML file (default: the settings that were tuned for networks like that of --activation)",
    )
    parser.add_argument("--readout", nargs="+", choices=list(READOUTS), default=[READOUT], help=f"default {READOUT}")
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument(
        "--shots", type=at_least(1), nargs="+", default=[10], help="labelled examples of each class (default 10)"
    )
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=100, help="tasks from each source and seed (default 100)")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_base_network()
    parser.add_argument(
        "--permute", action=argparse.BooleanOptionalAction, default=True, help="inputs in another order in each task"
    )
    parser.add_argument(
        "--redraw",
        type=str.strip,
        default="identity",
        metavar="AUGMENTATION",
        help="change images a little whenever they are drawn, such as rotate=0.03,warp=0.05 (default identity): for "
        "rules anew in every inner step, while other methods learn from one version of each",
    )
    parser.add_argument("--sweep", choices=list(SWEEPS), help="compare over a range of this setting")
    parser.add_argument("--values", nargs="+", default=[], metavar="V", help="the range, where not the usual one")
    parser.add_argument(
        "--seeds", type=at_least(0), nargs="+", default=[0], help="decide the tasks and the starting networks"
    )
    parser.add_device()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all accuracies, means and settings here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table here")
    arguments = parser.parse_args(argv)
    parser.expect_different(arguments, "data", "readout", "shots", "seeds", "values")
    if arguments.values and arguments.sweep is None:
        parser.error("got --values without --sweep, expected a sweep whose values they are")
    arguments.methods = chosen_methods(parser, arguments)
    return arguments


def chosen_methods(parser: Parser, arguments: argparse.Namespace) -> list[str]:
    """The rule, if any, and the baselines, in the order of MEANING."""
    names, has_rule = arguments.baselines, arguments.rule is not None
    if names in (["all"], ["none"]):
        chosen = set(BASELINES if names == ["all"] else ())
    else:
        unknown = [name for name in names if name not in BASELINES]
        if unknown:
            parser.error(f"unknown baseline {unknown[0]!r}, expected all, none or names from {', '.join(BASELINES)}")
        chosen = set(names)
    if not has_rule and names in (["all"], list(METHODS[1:])):
        chosen.discard("untrained_rule")
    if not has_rule and not chosen:
        parser.error("got no --rule and no --baselines, expected something to evaluate")
    if not has_rule and "untrained_rule" in chosen:
        parser.error("got untrained_rule without --rule, expected the rule whose untrained self it is")
    return [name for name in MEANING if name in chosen or (name == "rule" and has_rule)]


def split_seed(header: RuleHeader | None) -> int:
    """The seed that told training data from test data where the rule was trained; 0 if its file does not say."""
    seed = "0" if header is None else header.provenance.get("seed", "0")
    return int(seed) if seed.isdecimal() else 0


def settings(arguments: argparse.Namespace, header: RuleHeader | None, baselines: BaselineSettings) -> dict[str, Any]:
    """What else a reader of the results may ask for, beside the environment."""
    network = ("hidden", "outputs", "activation", "steps", "batch")
    names = ("queries", "size", *network, "permute", "redraw", "sweep", "seeds")
    about_rule: dict[str, Any] = {}
    if header is not None:
        about_rule = {"rule_file": arguments.rule, "rule": header.rule, "rule_provenance": header.provenance}
    return {
        **about_rule,
        **{name: getattr(arguments, name) for name in names},
        "split_seed": split_seed(header),
        "baseline_settings": {name: kept for name, kept in asdict(baselines).items() if name in arguments.methods},
    }


def task_sources(arguments: argparse.Namespace, one: Variation, seed: int) -> dict[str, TaskSource]:
    """The sources of tasks by name; ``seed`` splits the data. Raises ValueError for data that cannot be redrawn."""
    found = {}
    for name in arguments.data:
        data = tuple(load_source(name, size=one.size, seed=seed))
        found[name] = TaskSource(
            data, arguments.ways, max(arguments.shots), arguments.queries, one.permute, redraw=arguments.redraw
        )
        if arguments.redraw != "identity" and not any(dataset.image_shape for dataset in data):
            raise ValueError(f"{name}: a table or text, expected images for --redraw {arguments.redraw}")
    return found


def measure(
    arguments: argparse.Namespace,
    variations: Sequence[Variation],
    baselines: BaselineSettings,
    rule: Rule | None,
    seed: int,
    advance: Progress,
) -> list[TaskAccuracies]:
    """All accuracies; ``seed`` splits the data."""
    found = []
    for one in variations:
        methods = make_methods(arguments.methods, one.inner, baselines, rule, one.points)
        for name, source in task_sources(arguments, one, seed).items():
            for task_seed in arguments.seeds:
                measured = compare(
                    methods,
                    source,
                    shots=arguments.shots,
                    readouts=arguments.readout,
                    tasks=arguments.tasks,
                    seed=task_seed,
                    progress=advance,
                )
                found += task_accuracies(
                    measured,
                    name,
                    source,
                    seed=task_seed,
                    size=one.size,
                    setting=one.setting,
                    by_step=one.points is not None,
                )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, print the table, and write what was asked for."""
    arguments = parse(argv)
    writable(arguments.json)
    writable(arguments.plot)
    different(json=arguments.json, plot=arguments.plot)
    torch.set_num_threads(arguments.threads)
    rule = header = None
    if arguments.rule is not None:
        rule, header = read_rule(arguments.rule)
        rule = rule.to(arguments.device)
    fill_in_base_network(arguments, header)
    baselines = read_settings(arguments.baseline_settings or settings_file(arguments.activation))
    inner = InnerTraining(
        arguments.hidden,
        arguments.outputs,
        arguments.activation,
        arguments.steps,
        arguments.batch,
        arguments.device,
    )
    variations = [Variation({}, inner, arguments.size, arguments.permute)]
    if arguments.sweep is not None:
        variations = vary(arguments.sweep, arguments.values, inner, arguments.size, arguments.permute)
    # Of the code that is about to run.
    made: dict[str, Any] = {"command": command("evaluate", argv), **environment(arguments.device)}
    started = time.perf_counter()
    every = len(arguments.methods) * len(arguments.data) * len(arguments.seeds) * len(variations) * arguments.tasks
    with progress("tasks done by a method", every) as advance:
        found = measure(arguments, variations, baselines, rule, split_seed(header), advance)
    made["seconds"] = round(time.perf_counter() - started, 1)
    results = summarise(found, {**settings(arguments, header, baselines), **made})
    print_table(results_table(results), width=100 + sum(max(len(source), 10) + 20 for source in arguments.data))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        save_png(accuracy_bars(results) if arguments.sweep is None else sweep_curves(results), arguments.plot)
    return 0
