"""Meta-train an update rule as a config says; stop it at any time and go on with --resume."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from common.atomic_file import remove_temporary_files
from evaluation.results_table import results_table
from experiment.build import build_trainer
from experiment.forecast import forecast_run
from experiment.report.publish import publish
from experiment.run_report import networks_in_report, report_on_run, report_sources
from outer_loop.config.file import describe_config, load_config, made_by, save_config
from outer_loop.config.schema import Config
from outer_loop.run.interruption import Interruption, StoppedError
from outer_loop.run.lock import run_lock
from outer_loop.run.processes import OtherRankFailedError, Ranks, open_ranks
from outer_loop.run.progress import OuterProgress
from outer_loop.run.resuming import best_is_stale, set_aside, starting_point
from outer_loop.run.tracking import Tracker, open_trackers
from tasks.source import TaskSource
from unsupervised_update_rules.commands.arguments import Parser, command
from unsupervised_update_rules.commands.entry import USAGE_ERROR
from unsupervised_update_rules.commands.terminal import progress as script_progress
from update_rules.rule_file import BEST_FILE, LAST_FILE, read_header


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(
        description=__doc__,
        epilog="settings, each with its default:\n\n" + describe_config(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file with settings")
    resumed = parser.add_mutually_exclusive_group()
    resumed.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in run_dir")
    resumed.add_argument("--auto-resume", action="store_true", help="the same, or start anew where there is none")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that differ from the file")
    return parser


class Start(NamedTuple):
    """How a run is started: whether an earlier one goes on, whether a new one may start instead, and the command."""

    resume: bool
    start_anew: bool
    anew: str


def parse(argv: Sequence[str] | None) -> tuple[Config, Start]:
    """The checked config, and how the run is started."""
    arguments = make_parser().parse_intermixed_args(argv)
    anew = command("meta_train", ["--config", arguments.config, *arguments.overrides])
    resume = arguments.resume or arguments.auto_resume
    return load_config(arguments.config, arguments.overrides), Start(resume, arguments.auto_resume, anew)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, save, report. Returns 0, or 128 + the signal's number when a signal stopped it early."""
    config, start = parse(argv)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    try:
        with open_ranks() as ranks:
            return train(config, start._replace(resume=True, start_anew=True) if ranks.restarted else start, ranks)
    except OtherRankFailedError:
        return USAGE_ERROR


def train(config: Config, how: Start, ranks: Ranks) -> int:
    """``main`` on every rank of the run."""
    run_dir = Path(config.run_dir)
    found = last_write(run_dir)
    begin = ranks.from_first(lambda: starting_point(run_dir, how.resume, how.start_anew))
    checkpoint, notes = begin.checkpoint, begin.notes
    if ranks.first:
        print(f"{run_dir}: reading data, and measuring what the run will take", file=sys.stderr, flush=True)
    trainer = build_trainer(config, checkpoint, ranks, notes.append)
    judged_on = report_sources(config)
    forecast = forecast_run(trainer)
    state = trainer.state
    stale = ranks.from_first(lambda: best_is_stale(run_dir, checkpoint, config))
    if stale and state.best_accuracy > -math.inf:
        state.best_accuracy = -math.inf
        notes.append(
            f"{BEST_FILE} is gone, or of a later outer step that this run does not take: a new best is looked for"
        )
    with ExitStack() as stack:
        if ranks.first:
            stack.enter_context(run_lock(run_dir))
        interruption = stack.enter_context(Interruption(ranks))
        if ranks.first and last_write(run_dir) != found:
            raise ValueError(f"{run_dir}: another process trained there meanwhile; start again with --resume")
        if ranks.first:
            set_aside(run_dir, begin, best=stale)
            remove_temporary_files(run_dir)
        tracker = Tracker()
        index = config.tasks.points is not None  # whole sets are judged by the adjusted Rand index
        begun, best = state.outer_step, state.best_accuracy
        with OuterProgress(config.outer_steps, begun, shown=ranks.first, index=index, best=best) as progress:
            for line in [*notes, *forecast.lines()]:
                progress.message(line)
            if checkpoint is not None:
                done = "which is all of them" if state.outer_step == config.outer_steps else f"of {config.outer_steps}"
                progress.message(f"resuming {run_dir} after outer step {state.outer_step}, {done}")
            if ranks.first:
                save_config(config, run_dir / "config.yaml", commands_of(run_dir, how, ranks))
                logged = None if checkpoint is None else state.outer_step - (state.pending is not None)
                tracker = stack.enter_context(closing(open_trackers(config, state.run_id, logged, progress.message)))
            trainer.run(tracker, progress, interruption)
        if not ranks.first:
            return interruption.exit_code
        if interruption.signal is None and judged_on:
            with suppress(StoppedError), interruption.at_once(alone=True):
                report(config, judged_on, tracker, state.outer_step)
    if interruption.signal is None and not judged_on:
        print(f"rule: {run_dir / BEST_FILE}")
    if interruption.signal is not None:
        print(f"stopped by {interruption.signal.name} after outer step {state.outer_step}; --resume continues")
    return interruption.exit_code


def report(config: Config, judged_on: Mapping[str, TaskSource], tracker: Tracker, outer_step: int) -> None:
    """Judge the best rule of the finished run, write its report, and show it."""
    with script_progress("networks evaluated", networks_in_report(config)) as advance:
        page, results, curves = report_on_run(config, judged_on, advance)
    publish(tracker, outer_step, results, page, curves)
    Console().print(results_table(results))
    if read_header(Path(config.run_dir) / BEST_FILE).provenance.get("outer_steps") == "0":
        print(f"no validation found a rule better than the start, which is judged here; {LAST_FILE} is the trained one")
    print(f"report: {page}")


def commands_of(run_dir: Path, how: Start, ranks: Ranks) -> list[str]:
    """The commands that the run was started with so far, this one last."""
    path, last = run_dir / "config.yaml", how.anew
    if ranks.count > 1:
        last = last.replace("python", f"torchrun --nproc-per-node {ranks.count}", 1)
    before = made_by(path) if how.resume and path.exists() else []
    return before if last in before[-1:] else [*before, last]


def last_write(run_dir: Path) -> int:
    """When the last checkpoint in ``run_dir`` was written, in nanoseconds; 0 where there is none."""
    last = run_dir / "checkpoints" / "last.pt"
    return last.stat().st_mtime_ns if last.exists() else 0
