"""Judge a rule that learned where a network starts (maml, protonet) as the few-shot papers do, with true labels.

The network is adapted to the support set of each task and tells its queries. On the same tasks: the same network from a
random start, a random network with class means, and a nearest neighbour, logistic regression and class means on the
inputs and on the features of fixed encoders. Means over tasks with 95 % intervals, and paired differences.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from evaluation.adaptation import trained_use
from evaluation.learners import compare_learners, learner_names, load_embedding, make_learners
from evaluation.results import TaskAccuracies, environment, summarise, task_accuracies, write_results
from evaluation.results_table import results_table
from experiment.report.plots import accuracy_bars, save_png
from inner_loop.networks.conv4 import Conv4
from outer_loop.readouts.objective import BATCH_NORMS
from tasks.data.sources import load_source
from tasks.task import TaskSource
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, different, threads, writable
from unsupervised_update_rules.commands.evaluate import split_seed
from unsupervised_update_rules.commands.terminal import print_table, progress
from update_rules.rule_file import read_rule


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", required=True, metavar="FILE", help="rule file that meta_train.py wrote")
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="such as npz:FILE@test")
    parser.add_argument(
        "--encoder",
        nargs="+",
        default=[],
        metavar="FILE",
        help="files of train_encoder.py or base networks of apply_rule.py",
    )
    parser.add_argument("--ways", type=at_least(2), default=5, help="classes in a task (default 5)")
    parser.add_argument(
        "--shots", type=at_least(1), nargs="+", default=[1], help="labelled examples of each class (default 1)"
    )
    parser.add_argument("--queries", type=at_least(1), default=5, help="examples of each class to tell (default 5)")
    parser.add_argument("--steps", type=at_least(0), default=50, help="adaptation steps on a support set (default 50)")
    parser.add_argument("--tasks", type=at_least(2), default=600, help="tasks a source, shots and seed (default 600)")
    parser.add_argument(
        "--batch-norm",
        choices=BATCH_NORMS,
        help="what normalises queries: all of a task at once, the support set, or a protonet's running averages "
        "(default: as in training)",
    )
    parser.add_argument(
        "--size", type=at_least(1), metavar="S", help="images as S x S pixels (default: those of the rule's conv4)"
    )
    parser.add_argument("--seeds", type=at_least(0), nargs="+", default=[0], help="decide the tasks and random starts")
    parser.add_device()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all accuracies, means and settings here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the table here")
    arguments = parser.parse_args(argv)
    parser.expect_different(arguments, "data", "shots", "seeds", "encoder")
    names = [Path(path).stem for path in arguments.encoder]
    if len({*names, "raw"}) <= len(names):
        parser.error(f"got --encoder files called {' '.join(names)}, expected different names, none of them raw")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate, print the table, and write what was asked for."""
    arguments = parse(argv)
    writable(arguments.json)
    writable(arguments.plot)
    different(json=arguments.json, plot=arguments.plot)
    torch.set_num_threads(arguments.threads)
    rule, header = read_rule(arguments.rule)
    rule = rule.to(arguments.device)
    use = trained_use(header, arguments.rule, arguments.steps, arguments.batch_norm)
    embeddings = {Path(path).stem: load_embedding(path) for path in arguments.encoder}
    learners = make_learners(rule, use, [arguments.steps], embeddings)
    size = arguments.size or (use.network.side if isinstance(use.network, Conv4) else None)
    made: dict[str, Any] = {"command": command("evaluate_few_shot", argv), **environment(arguments.device)}
    started = time.perf_counter()
    rounds = [(name, shots, seed) for name in arguments.data for shots in arguments.shots for seed in arguments.seeds]
    found: list[TaskAccuracies] = []
    every = len(rounds) * len(learner_names(type(rule), embeddings)) * arguments.tasks
    loaded = {name: tuple(load_source(name, size=size, seed=split_seed(header))) for name in arguments.data}
    with progress("tasks done by a learner", every) as advance:
        for name, shots, seed in rounds:
            source = TaskSource(loaded[name], arguments.ways, shots, arguments.queries, permute=False)
            measured = compare_learners(
                learners, source, shots=shots, tasks=arguments.tasks, seed=seed, progress=advance
            )
            found += task_accuracies(measured, name, source, seed=seed, size=size)
    made["seconds"] = round(time.perf_counter() - started, 1)
    settings = {name: getattr(arguments, name) for name in ("queries", "steps", "seeds", "encoder")}
    about = {
        "rule_file": arguments.rule,
        "rule": header.rule,
        "rule_config": header.config,
        "rule_provenance": header.provenance,
        "objective": use.objective.name,
        "batch_norm": use.objective.batch_norm,
        "outputs": use.network.sizes[-1],
        "size": size,
        "split_seed": split_seed(header),
    }
    results = summarise(found, {**about, **settings, **made})
    print_table(results_table(results), width=100 + sum(max(len(source), 10) + 20 for source in arguments.data))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        save_png(accuracy_bars(results), arguments.plot)
    return 0
