"""Compare update rules with each other and with other ways to features by few-shot accuracy, or these ways alone.

Every method sees the same tasks, and a table of means with 95 % intervals is printed. A rule that tells classes itself
(maml, protonet) is judged by that, beside classifiers on fixed features; others by probes. Several rules are each used
as its file says. Parts of data such as @test are those that the rules' training seed gives, so that what they were
trained on stays out.

Data of whole sets, such as clustering:FILE and clusters:FAMILY, are for clusterers: rules that cluster, and those that
one takes by hand, all judged by the adjusted Rand index or another --measure.
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
from evaluation.lineage import Seen, lineage, lineage_of, same_parts, seeds_of
from evaluation.method import Method
from evaluation.methods import load_embedding
from evaluation.probes import OWN, READOUT
from evaluation.protocol import use_of
from evaluation.results import TaskAccuracies, environment, summarise, task_accuracies, write_results
from evaluation.results_table import results_table
from evaluation.statistics import RAND
from evaluation.sweeps import Variation, vary
from experiment.forecast_evaluation import forecast_evaluation
from experiment.report.plots import accuracy_points, save_png
from experiment.report.publish import publish
from experiment.report.sweep_plot import line_figure, sweep_lines
from tasks.data.sources import load_source
from tasks.dataset import with_enough
from tasks.labellers.registry import DEFAULT, LABELLERS
from tasks.source import TaskSource
from unsupervised_update_rules.commands import evaluate_arguments
from unsupervised_update_rules.commands.arguments import (
    Parser,
    command,
    different,
    given_settings,
    keeps,
    writable,
)
from unsupervised_update_rules.commands.evaluate_sets import evaluate_sets, of_sets
from unsupervised_update_rules.commands.terminal import Advance, print_table, progress
from unsupervised_update_rules.commands.tracked import tracked

KEPT = (
    *("queries", "size", "permute", "redraw", "inductive", "sweep", "seeds", "encoder"),
    *("unlabelled_shots", "distractors", "swapped", "fixed_classes"),
)
"""Arguments that stand in the results as they are."""


def make_parser() -> Parser:
    """What the command takes."""
    return evaluate_arguments.make_parser(__doc__ or "")


def splits_of(name: str, seeds: Sequence[int], seen: Seen) -> list[int]:
    """The seeds that split the source ``name``: the rules' own and those of what has ``seen`` it. The first is used."""
    return list(dict.fromkeys([*seeds, *seeds_of(name, seen)])) or [0]


def task_source(
    arguments: argparse.Namespace, seeds: Sequence[int], seen: Seen, name: str, size: int, permute: bool
) -> TaskSource:
    """The source of tasks ``name`` at ``size``, whose data are split by ``seeds``, the rules' own, or as was ``seen``.

    Raises ValueError for data of which these give different parts, and for data that cannot be redrawn.
    """
    how = {"size": size, "label": arguments.label, "standardise": arguments.standardise}
    splits = splits_of(name, seeds, seen)
    data, *others = (tuple(load_source(name, seed=seed, **how)) for seed in splits)
    if not all(same_parts(data, other) for other in others):
        raise ValueError(
            f"{name}: rules or encoders of training seeds {', '.join(map(str, splits))} were trained on other "
            "parts of it, expected data that bring their own split, or one training seed"
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
        transductive=not arguments.inductive,
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
    parser = make_parser()
    arguments = evaluate_arguments.parse(parser, argv)
    writable(arguments.json)
    writable(arguments.plot)
    different(json=arguments.json, plot=arguments.plot)
    for given in (*arguments.data, *arguments.rule, *arguments.encoder):
        keeps(given, json=arguments.json, plot=arguments.plot)
    torch.set_num_threads(arguments.threads)
    given = given_settings(arguments)
    rules = lineup.read_rules(arguments.rule, given, arguments.trust, arguments.device)
    if of_sets(arguments.data, rules):
        return evaluate_sets(arguments, parser, rules, command("evaluate", argv))
    if arguments.untold or arguments.measure != RAND:
        raise ValueError("got --untold or --measure with few-shot tasks, expected them with whole sets alone")
    arguments.tasks = arguments.tasks or evaluate_arguments.USUAL_TASKS
    arguments.size = lineup.agreed("size", arguments.size, rules, evaluate_arguments.USUAL_SIZE)
    arguments.permute = lineup.agreed("permute", arguments.permute, rules, True)
    use = rules[0].use if rules else use_of(None, given)
    lineup.check_swapped(arguments.swapped, rules)
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
    split_seeds = lineup.split_seeds(one.header for one in rules) if rules else []
    files = [*(lineage_of(one.header.provenance) for one in rules), *map(lineage, arguments.encoder)]
    seen = tuple(one for of_file in files for one in of_file)
    used = [splits_of(name, split_seeds, seen)[0] for name in arguments.data]
    meta: dict[str, Any] = {
        **lineup.about(rules, use),
        "split_seed": used[0] if len({*used}) == 1 else used,
        **{name: getattr(arguments, name) for name in KEPT},
        "baseline_settings": {name: one for name, one in asdict(settings).items() if name in tuned},
        "command": command("evaluate", argv),
        **environment(arguments.device),  # of the code that is about to run
    }
    source_of = lru_cache(maxsize=1)(partial(task_source, arguments, split_seeds, seen))  # first tried, then measured
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
