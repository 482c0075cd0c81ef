"""The error on Omniglot's official one-shot runs: 20 times 20 ways within an alphabet, one labelled example each.

Of rules that learned where a network starts (maml of 20 ways or more, protonet), and of nearest neighbours on pixels
and on the features of encoders; beside them what is published of people, programs and pixel distances. What
normalises queries stands beside a rule: ``batch``, all 20 of a run at once (transductive), ``support``, the labelled
examples alone, or ``running``, averages over meta-training.
"""

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from common.atomic_file import write_json
from evaluation.methods import load_embedding
from evaluation.one_shot_runs import nearest_neighbour, one_shot_error
from evaluation.protocol import use_of
from evaluation.results import environment
from evaluation.rules import classes_of
from evaluation.statistics import Mean
from tasks.data.named_source import find_data_set
from tasks.data.omniglot_runs import read_one_shot_runs
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, threads, writable
from unsupervised_update_rules.commands.tracked import tracked
from update_rules.rule_file import read_rule

RUNS = "omniglot_oneshot"
"""The data set of that name, in the data folder."""

PUBLISHED = {
    "people (Lake et al., 2015)": 4.5,
    "Bayesian program learning (Lake et al., 2015)": 3.3,
    "pixels, modified Hausdorff distance (Lake's demo for these runs)": 38.8,
}
"""Errors in percent that others report on these runs."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs",
        default=RUNS,
        metavar="FILE",
        help=f"npz file with train, test and answer (default {RUNS}, which get_data omniglot brings)",
    )
    parser.add_argument("--rule", nargs="+", default=[], metavar="FILE", help="rule files that meta_train.py wrote")
    parser.add_argument(
        "--encoder", nargs="+", default=[], metavar="FILE", help="files of train_encoder.py or base networks"
    )
    parser.add_argument("--steps", type=at_least(0), default=50, help="inner steps on a support set (default 50)")
    parser.add_trust()
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write errors and settings here")
    return parser


def runs_file(named: str) -> Path:
    """The file ``named``, or that of the data set of this name. Raises FileNotFoundError as ``find_data_set`` does."""
    return Path(named) if Path(named).exists() else find_data_set(named) or Path(named)


def main(argv: Sequence[str] | None = None) -> int:
    """Score everything that was named, print the table, and write what was asked for."""
    arguments = make_parser().parse_args(argv)
    writable(arguments.json)
    torch.set_num_threads(arguments.threads)
    about = {"command": command("one_shot_runs", argv), "steps": arguments.steps, **environment()}
    runs_path = runs_file(arguments.runs)
    whole = read_one_shot_runs(runs_path)
    errors: dict[str, Mean] = {"pixels, nearest": one_shot_error(whole, nearest_neighbour())}
    for path in arguments.encoder:
        errors[f"{path}, nearest"] = one_shot_error(whole, nearest_neighbour(load_embedding(path, arguments.trust)))
    norms = {}
    for path in arguments.rule:
        rule, header = read_rule(path, arguments.trust)
        use = use_of(header, {"steps": arguments.steps})
        runs = whole if use.size is None else read_one_shot_runs(runs_path, use.size)
        errors[path] = one_shot_error(runs, partial(classes_of, rule, use))
        norms[path] = use.normalisation
    if arguments.json is not None:
        found: dict[str, dict[str, Any]] = {n: {"error": e.value, "ci95": e.ci95} for n, e in errors.items()}
        for name, norm in norms.items():
            found[name]["normalisation"] = norm
        write_json(arguments.json, {"meta": about, "errors": found, "published": PUBLISHED})
    with tracked(arguments, "one_shot_runs", about) as tracker:
        rows = [[name, norms.get(name, ""), error.value, error.ci95] for name, error in errors.items()]
        tracker.log_table(0, "report/errors", ["method", "normalisation", "error", "ci95"], rows)
    table = Table("method", "normalisation", "error in percent")
    for name, error in errors.items():
        table.add_row(name, norms.get(name, ""), f"{error.value:.1f} ± {error.ci95:.1f}")
    for name, value in PUBLISHED.items():
        table.add_row(name, "", f"{value}")
    Console().print(table)
    return 0
