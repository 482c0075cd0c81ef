"""What the directions of several estimators are worth on the same tasks: how far they are from the gradient through
whole trajectories, how noisy, what they cost, and how θ moves by them.

The first table tells, beside that gradient: the length of the mean direction, the cosine, and the bias, all over tasks;
the signal to noise of an outer step; the share of steps clipped; seconds for 1000 inner steps of a task; memory. The
second tells signal to noise and cosine by where in the trajectory a piece lies; the third how far the parameters moved
that moved most. With `--rule` all of it is at a trained rule, else at the start.
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.table import Table
from torch import Tensor

from common.atomic_file import write_json
from evaluation.results import environment
from experiment.build import build_trainer, make_estimator
from experiment.cost import Cost, cost_in_turns
from experiment.gradient_signal import Quality, by_place, directions, quality, whole_gradients, whole_unrolls
from experiment.report.gradient_plot import signal_by_place
from experiment.report.plots import save_png
from outer_loop.config.file import load_config
from outer_loop.config.schema import Config
from outer_loop.estimators.contract import Estimator
from outer_loop.estimators.registry import ESTIMATORS
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, different, keeps, writable
from unsupervised_update_rules.commands.terminal import print_table, progress

WHOLE = "full_backprop"
"""The estimator that all are held against."""

USUAL = ((WHOLE,), ("truncated_backprop",), ("evolution_strategies",), ("persistent_es",))
"""What is reported where nobody says."""

MOST = 4
"""Parameters of each estimator in the table of moves; all are in the file."""


class Asked(NamedTuple):
    """An estimator, as it is run and as it is measured."""

    config: Config
    piece: int
    """Inner steps between two of its directions."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, metavar="YAML", help="the config of a meta-training run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that differ from the config")
    parser.add_argument("--rule", metavar="FILE", help="where θ is taken from; the start of a run without")
    parser.add_argument(
        "--estimator",
        nargs="+",
        action="append",
        metavar="WORD",
        help="an estimator, its options as key=value, and maybe piece=K, the inner steps between its directions; once "
        f"for each (default: {', '.join(name for name, *_ in USUAL)})",
    )
    parser.add_argument("--tasks", type=at_least(2), default=16, metavar="T", help="tasks measured (default 16)")
    parser.add_argument(
        "--length", type=at_least(1), metavar="K", help="inner steps of a trajectory (default: the config's longest)"
    )
    parser.add_argument(
        "--outer-steps", type=at_least(3), default=10, metavar="N", help="outer steps by each estimator (default 10)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured here")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="draw signal to noise and cosine by place here")
    return parser


def asked_of(arguments: argparse.Namespace) -> dict[str, Asked]:
    """The config of every estimator by what it is called. Raises ValueError for settings that do not fit."""
    shared = [*arguments.overrides, *([f"rule.pretrained={arguments.rule}"] if arguments.rule else [])]
    plain = load_config(arguments.config, shared)
    piece, longest = plain.inner.unroll[1], arguments.length or plain.inner.length[1]
    length = longest // piece * piece
    if not length or arguments.length not in (None, length):
        raise ValueError(f"got a trajectory of {longest} inner steps in pieces of {piece}, expected whole pieces")
    found: dict[str, Asked] = {}
    for name, *words in [[WHOLE], *(arguments.estimator or USUAL)]:
        own = [word for word in words if word.startswith("piece=")]
        whole = ESTIMATORS.find(name).whole_trajectories
        if whole and own:
            raise ValueError(f"got {name} {own[-1]}, expected no pieces: it learns from whole trajectories")
        steps = length if whole else _piece(own[-1]) if own else piece
        if length % steps or steps % plain.inner.read_every:
            raise ValueError(
                f"got {name} in pieces of {steps} inner steps, expected a part of {length}, and a whole number of "
                f"inner.read_every, {plain.inner.read_every}"
            )
        options = ", ".join(word.replace("=", ": ", 1) for word in words if word not in own)
        settings = [f"outer.estimator={{name: {name}, options: {{{options}}}}}"]
        settings += [f"inner.unroll=[{steps},{steps}]", f"inner.length=[{length},{length}]", "inner.curriculum=0"]
        found[" ".join([name, *words])] = Asked(load_config(arguments.config, [*shared, *settings]), steps)
    return found


def _piece(word: str) -> int:
    value = word.partition("=")[2]
    if not value.isdecimal() or not int(value):
        raise ValueError(f"got {word}, expected piece=K, a number of inner steps")
    return int(value)


class Report(NamedTuple):
    """What was measured of each estimator, by what it is called."""

    whole: dict[str, Quality]
    by_place: dict[str, Sequence[Quality]]
    lost: dict[str, int]
    """Tasks whose direction was not finite."""


def measure(asked: Mapping[str, Asked], tasks: int, advance: Any) -> Report:
    """The quality of every estimator on the same ``tasks``."""
    first = asked[WHOLE].config
    trainer = build_trainer(first, say=lambda line: None)
    rule, trajectories, length = trainer.state.rule, trainer.parts.trajectories, asked[WHOLE].piece
    theta, piece = rule.theta_at(0), min(one.piece for one in asked.values())
    estimators = {name: make_estimator(one.config) for name, one in asked.items()}
    found: dict[str, list[Tensor]] = {name: [] for name in asked}
    gradients = []
    unrolls = whole_unrolls(trajectories, rule, tasks, first.seed, length, piece, first.inner.read_every)
    for number, one in enumerate(unrolls):
        gradients.append(whole_gradients(estimators[WHOLE], rule, theta, one, piece))
        for name, estimator in estimators.items():
            noise = torch.Generator().manual_seed(number)
            if name == WHOLE:
                found[name].append(gradients[-1])
            else:
                found[name].append(directions(estimator, rule, theta, one, asked[name].piece, noise))
        advance(1)
    rows = {name: torch.stack(one) for name, one in found.items()}
    whole, batch = torch.stack(gradients), first.outer.tasks_per_step
    return Report(
        {name: quality(one.mean(1), whole.mean(1), batch) for name, one in rows.items()},
        by_place(rows, whole, batch),
        {name: int((~one.isfinite().all(2).all(1)).sum()) for name, one in rows.items()},
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the estimators, print the tables, and write what was asked for."""
    arguments = make_parser().parse_intermixed_args(argv)
    writable(arguments.json)
    writable(arguments.plot)
    different(json=arguments.json, plot=arguments.plot)
    for given in (arguments.config, arguments.rule):
        keeps(given, json=arguments.json, plot=arguments.plot)
    asked = asked_of(arguments)
    torch.set_num_threads(asked[WHOLE].config.threads)
    with progress("tasks done by all estimators", arguments.tasks) as advance:
        report = measure(asked, arguments.tasks, advance)
    with progress("outer steps of each", arguments.outer_steps) as advance:
        configs = {name: one.config for name, one in asked.items()}
        costs = cost_in_turns(configs, arguments.outer_steps, lambda step: advance(1))
    if arguments.json is not None:
        found = {
            "meta": {"command": command("gradient_report", argv), **environment()},
            "estimators": {
                name: {
                    **report.whole[name]._asdict(),
                    "lost": report.lost[name],
                    "by_place": [one._asdict() for one in report.by_place.get(name, [])],
                    "piece": asked[name].piece,
                    "cost": asdict(costs[name]),
                }
                for name in asked
            },
        }
        write_json(arguments.json, finite(found))
    if arguments.plot is not None:
        save_png(signal_by_place(report.by_place, min(one.piece for one in asked.values())), arguments.plot)
    for table in (_qualities(asked, report, costs), _places(report), _moves(asked, costs)):
        print_table(table, 140)
    return 0


def finite(found: Any) -> Any:
    """``found`` with None in the place of numbers that are not finite."""
    if isinstance(found, dict):
        return {name: finite(value) for name, value in found.items()}
    if isinstance(found, list):
        return [finite(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _qualities(asked: Mapping[str, Asked], report: Report, costs: Mapping[str, Cost]) -> Table:
    table = Table("estimator", "length", "cosine", "bias", "signal/noise", "lost", "clipped", "s/1000", "MiB")
    for name, one in report.whole.items():
        config, cost = asked[name].config, costs[name]
        seconds = 1000 * cost.median / (asked[name].piece * config.outer.tasks_per_step)
        numbers = map(_number, one)
        clipped = f"{100 * cost.moves.clipped_share:.0f} %"
        table.add_row(name, *numbers, str(report.lost[name]), clipped, f"{seconds:.2f}", f"{cost.peak_mib:.0f}")
    return table


def _number(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _places(report: Report) -> Table:
    count = len(report.by_place[WHOLE])
    table = Table("signal/noise, cosine by piece", *map(str, range(1, count + 1)))
    for name, places in report.by_place.items():
        table.add_row(name, *(f"{_number(one.signal_to_noise)}, {_number(one.cosine)}" for one in places))
    return table


def _moves(asked: Mapping[str, Asked], costs: Mapping[str, Cost]) -> Table:
    """Of an estimator that chooses θ, no rate bounds the path."""
    table = Table("estimator", "parameter", "path", "displacement", "path of the longest")
    for name, cost in costs.items():
        moves = cost.moves
        chooses = ESTIMATORS.find(asked[name].config.outer.estimator.name).chosen is not Estimator.chosen
        for one in sorted(moves.path, key=lambda key: -moves.path[key])[:MOST]:
            share = "-" if chooses else f"{100 * moves.path[one] / moves.longest:.0f} %"
            table.add_row(name, one, f"{moves.path[one]:.4f}", f"{moves.displacement[one]:.4f}", share)
    return table
