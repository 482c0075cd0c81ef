"""Compare update rules with each other and with other ways to features by few-shot accuracy, or these ways alone.

Every method sees the same tasks, and a table of means with 95 % intervals is printed. A rule that tells classes itself
(maml, protonet) is judged by that, beside classifiers on fixed features; others by probes. Several rules are each used
as its file says. Parts of data such as @test are those that the rules' training seed gives, so that what they were
trained on stays out.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from common.expected import expected
from evaluation import lineup
from evaluation.baselines.settings import read_settings, settings_file
from evaluation.comparison import compare
from evaluation.method import Method
from evaluation.methods import BASELINES, CHEAP, CLASSIFIED, load_embedding
from evaluation.probes import OWN, PROBES, READOUT
from evaluation.protocol import use_of
from evaluation.results import TaskAccuracies, environment, summarise, task_accuracies, write_results
from evaluation.results_table import results_table
from evaluation.sweeps import SWEEPS, Variation, vary
from experiment.forecast_evaluation import forecast_evaluation
from experiment.report.plots import accuracy_points, save_png
from experiment.report.publish import publish
from experiment.report.sweep_plot import line_figure, sweep_lines
from outer_loop.readouts.normalisation import NORMALISATIONS
from tasks.data.sources import load_source
from tasks.dataset import with_enough
from tasks.labellers.registry import DEFAULT, LABELLERS
from tasks.source import TaskSource
from tasks.views import SWAPPABLE
from unsupervised_update_rules.commands.arguments import (
    Parser,
    at_least,
    command,
    different,
    given_settings,
    keeps,
    threads,
    writable,
)
from unsupervised_update_rules.commands.terminal import Advance, print_table, progress
from unsupervised_update_rules.commands.tracked import tracked

KEPT = (
    *("queries", "size", "permute", "redraw", "sweep", "seeds", "encoder"),
    *("unlabelled_shots", "distractors", "swapped", "fixed_classes"),
)
"""Arguments that stand in the results as they are."""

USUAL_SIZE = 14
"""Pixels of a side where neither a user nor a rule says."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rule", nargs="+", default=[], metavar="FILE", help="rule files, or names of pretrained rules"
    )
    parser.add_trust()
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as digits mnist5k npz:FILE")
    parser.add_label()
    parser.add_standardise()
    parser.add_argument(
        "--baselines",
        nargs="+",
        metavar="NAME",
        help=f"of {', '.join(BASELINES)}, or with _PROBE behind it one that a probe reads; or all, or none (default "
        f"{' '.join(CHEAP)}, for a rule with a readout of its own {' '.join(CLASSIFIED)}; without --rule, "
        "untrained_rule is left out)",
    )
    parser.add_argument(
        "--baseline-settings", type=Path, metavar="FILE", help="YAML file (default: as they were tuned)"
    )
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of train_encoder.py or base networks of apply_rule.py, whose features are compared too",
    )
    parser.add_argument("--ablate", action="store_true", help="compare the rule with copies that lack one part each")
    parser.add_argument(
        "--readout",
        nargs="+",
        choices=[OWN, *PROBES],
        help=f"{OWN}: the one that a method brings, or probes (default {READOUT}; {OWN} for a rule that has one)",
    )
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument(
        "--shots", type=at_least(1), nargs="+", default=[10], help="labelled examples of each class (default 10)"
    )
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=100, help="tasks from each source and seed (default 100)")
    parser.add_argument(
        "--size", type=at_least(1), metavar="S", help=f"images as S x S pixels (default: the rule's, else {USUAL_SIZE})"
    )
    parser.add_base_network()
    parser.add_argument(
        "--normalisation", choices=NORMALISATIONS, help="what normalises the features of rules (default: the rule's)"
    )
    parser.add_argument(
        "--permute",
        action=argparse.BooleanOptionalAction,
        help="inputs in another order in each task (default: as the rule was trained, else on)",
    )
    parser.add_argument(
        "--redraw",
        type=str.strip,
        default="identity",
        metavar="AUGMENTATION",
        help="change images a little whenever they are drawn, such as rotate=0.03,warp=0.05 (default identity): for "
        "rules anew in every inner step, while other methods learn from one version of each",
    )
    parser.add_argument(
        "--unlabelled-shots",
        type=at_least(0),
        default=0,
        help="examples of each class in a set without labels, for rules that look at one (default 0)",
    )
    parser.add_argument(
        "--distractors", type=at_least(0), default=0, help="other classes in that set, of as many each (default 0)"
    )
    parser.add_argument(
        "--swapped",
        nargs="+",
        default=[],
        choices=SWAPPABLE,
        help="give rules these views of another task instead, as a control",
    )
    parser.add_argument(
        "--fixed-classes", action="store_true", help="the first classes in every task, each under the same label"
    )
    parser.add_argument("--sweep", choices=list(SWEEPS), help="compare over a range of this setting")
    parser.add_argument("--values", nargs="+", default=[], metavar="V", help="the range, where not the usual one")
    parser.add_argument(
        "--seeds", type=at_least(0), nargs="+", default=[0], help="decide the tasks and the starting networks"
    )
    parser.add_device()
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all accuracies, means and settings here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table here")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    parser.expect_different(arguments, "rule", "data", "readout", "shots", "seeds", "values", "encoder")
    if arguments.values and arguments.sweep is None:
        parser.error("got --values without --sweep, expected a sweep whose values they are")
    if arguments.ablate and len(arguments.rule) != 1:
        parser.error(f"got --ablate with {len(arguments.rule)} rules, expected the one whose parts are switched off")
    names = [Path(path).stem for path in arguments.encoder]
    if len({*names, *BASELINES}) < len(names) + len(BASELINES):
        parser.error(f"got --encoder files called {' '.join(names)}, expected different names and none of a baseline")
    return arguments


def task_source(arguments: argparse.Namespace, seeds: Sequence[int], name: str, size: int, permute: bool) -> TaskSource:
    """The source of tasks ``name`` at ``size``, whose data are split by ``seeds``, the rules' own.

    Raises ValueError for data of which these give different parts, and for data that cannot be redrawn.
    """
    how = {"size": size, "label": arguments.label, "standardise": arguments.standardise}
    data, *others = (tuple(load_source(name, seed=seed, **how)) for seed in seeds)
    if any([part.fingerprint for part in other] != [part.fingerprint for part in data] for other in others):
        raise ValueError(
            f"{name}: rules of training seeds {', '.join(map(str, seeds))} were trained on other parts of it, expected "
            "data that bring their own split, or rules of one training seed"
        )
    if arguments.redraw != "identity" and not any(dataset.image_shape for dataset in data):
        raise ValueError(f"{name}: a table or text, expected images for --redraw {arguments.redraw}")
    shots = max(arguments.shots)
    data = tuple(with_enough(data, arguments.ways, shots + arguments.queries + arguments.unlabelled_shots))
    return TaskSource(
        data,
        arguments.ways,
        shots,
        arguments.queries,
        permute,
        LABELLERS.make("fixed" if arguments.fixed_classes else DEFAULT, {}),
        redraw=arguments.redraw,
        unlabelled_shots=arguments.unlabelled_shots,
        distractors=arguments.distractors,
        swapped=tuple(arguments.swapped),
    )


def measure(
    arguments: argparse.Namespace,
    variations: Sequence[tuple[Variation, Mapping[str, Method]]],
    source_of: Callable[[str, int, bool], TaskSource],
    advance: Advance,
) -> list[TaskAccuracies]:
    """All accuracies, on the sources that ``source_of`` a name, a size and whether inputs are permuted gives."""
    found = []
    for one, methods in variations:
        for name in arguments.data:
            source = source_of(name, one.size, one.permute)
            for task_seed in arguments.seeds:
                measured = compare(
                    methods,
                    source,
                    shots=arguments.shots,
                    readouts=arguments.readout,
                    tasks=arguments.tasks,
                    seed=task_seed,
                    progress=lambda done, method, name=name: advance(done, f"{name}, {method}"),  # type: ignore[misc]
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
    for given in (*arguments.data, *arguments.rule, *arguments.encoder):
        keeps(given, json=arguments.json, plot=arguments.plot)
    torch.set_num_threads(arguments.threads)
    given = given_settings(arguments)
    rules = lineup.read_rules(arguments.rule, given, arguments.trust, arguments.device)
    arguments.size = lineup.agreed("size", arguments.size, rules, USUAL_SIZE)
    arguments.permute = lineup.agreed("permute", arguments.permute, rules, True)
    use = rules[0].use if rules else use_of(None, given)
    arguments.readout = arguments.readout or [OWN if any(one.use.own for one in rules) else READOUT]
    encoders = {Path(path).stem: load_embedding(path, arguments.trust) for path in arguments.encoder}
    names = lineup.chosen_baselines(arguments.baselines, arguments.readout, rules, list(encoders))
    settings = read_settings(arguments.baseline_settings or settings_file(use.network.competes))
    ranges = [Variation({}, use, arguments.size, arguments.permute)]
    if arguments.sweep is not None:
        if len(rules) > 1:
            raise ValueError("got --sweep with several rules, expected one")
        ranges = vary(arguments.sweep, arguments.values, use, arguments.size, arguments.permute)
    variations = [(one, lineup.methods_at(one, rules, names, settings, encoders, arguments.ablate)) for one in ranges]
    lineup.check_readouts(variations[0][1], arguments.readout)
    tuned = {features for name in names for features in (name, name.rpartition("_")[0])}
    meta: dict[str, Any] = {
        **lineup.about(rules, use),
        **{name: getattr(arguments, name) for name in KEPT},
        "baseline_settings": {name: one for name, one in asdict(settings).items() if name in tuned},
        "command": command("evaluate", argv),
        **environment(arguments.device),  # of the code that is about to run
    }
    split_seeds = lineup.split_seeds(one.header for one in rules)
    source_of = lru_cache(maxsize=1)(partial(task_source, arguments, split_seeds))  # the first is tried, then measured
    if rules:
        first = source_of(arguments.data[0], ranges[0].size, ranges[0].permute)
        many = len(arguments.data) * len(arguments.seeds) * len(variations) * arguments.tasks
        taken = forecast_evaluation(rules, first, many, 1 + ("untrained_rule" in variations[0][1]))
        line = expected("the inner steps of rules", taken, arguments.device, "a smaller --size or --batch")
        print(line, file=sys.stderr, flush=True)
    started = time.perf_counter()
    every = len(variations[0][1]) * len(arguments.data) * len(arguments.seeds) * len(variations) * arguments.tasks
    with progress("tasks done by a method", every) as advance:
        found = measure(arguments, variations, source_of, advance)
    meta["seconds"] = round(time.perf_counter() - started, 1)
    results = summarise(found, meta, leads=bool(rules))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        figure = accuracy_points(results) if arguments.sweep is None else line_figure(*sweep_lines(results))
        save_png(figure, arguments.plot)
    with tracked(arguments, "evaluate", meta) as tracker:
        publish(tracker, 0, results)
        if arguments.plot is not None:
            tracker.log_images(0, "report/plot", {"accuracy": np.asarray(Image.open(arguments.plot).convert("RGB"))})
    print_table(results_table(results), width=100 + sum(max(len(source), 10) + 20 for source in arguments.data))
    return 0
