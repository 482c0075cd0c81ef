"""Meta-train an update rule as a config says; stop it at any time and go on with --resume."""

import argparse
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from evaluation.results_table import results_table
from experiment.build import build_trainer
from experiment.forecast import forecast_run
from experiment.run_report import networks_in_report, report_on_run, report_sources
from outer_loop.config.file import describe_config, load_config, made_by, save_config
from outer_loop.config.schema import Config
from outer_loop.run.checkpoint import load_checkpoint
from outer_loop.run.interruption import Interruption
from outer_loop.run.lock import run_lock
from outer_loop.run.processes import OtherRankFailedError, Ranks, open_ranks
from outer_loop.run.progress import OuterProgress
from outer_loop.run.tracking import Tracker, open_trackers
from unsupervised_update_rules.commands.arguments import Parser, command
from unsupervised_update_rules.commands.entry import USAGE_ERROR
from unsupervised_update_rules.commands.terminal import progress as script_progress


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(
        description=__doc__,
        epilog="settings, each with its default:\n\n" + describe_config(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", required=True, metavar="FILE", help="YAML file with settings")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint in run_dir, if any")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that differ from the file")
    return parser


def parse(argv: Sequence[str] | None) -> tuple[Config, bool, str]:
    """The checked config, whether to resume, and the command that would start the run anew."""
    arguments = make_parser().parse_intermixed_args(argv)
    anew = command("meta_train", ["--config", arguments.config, *arguments.overrides])
    return load_config(arguments.config, arguments.overrides), arguments.resume, anew


def main(argv: Sequence[str] | None = None) -> int:
    """Train, save, report. Returns 0, or 128 + the signal's number when Ctrl-C or SIGTERM stopped it early."""
    config, resume, anew = parse(argv)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.set_float32_matmul_precision(config.matmul_precision)
    try:
        with open_ranks() as ranks:
            return train(config, resume or ranks.restarted, ranks, anew)
    except OtherRankFailedError:
        return USAGE_ERROR


def train(config: Config, resume: bool, ranks: Ranks, anew: str) -> int:
    """``main`` on every rank of the run that the command ``anew`` starts."""
    run_dir = Path(config.run_dir)
    found = last_write(run_dir)
    trainer = build_trainer(config, ranks.from_first(lambda: starting_point(run_dir, resume)), ranks)
    judged_on = report_sources(config)
    forecast = forecast_run(trainer)
    start = trainer.state.outer_step
    with (
        run_lock(run_dir) if ranks.first else nullcontext(),
        OuterProgress(config.outer_steps, start, shown=ranks.first) as progress,
        Interruption(ranks) as interruption,
    ):
        if ranks.first and last_write(run_dir) != found:
            raise ValueError(f"{run_dir}: another process trained there meanwhile; start again with --resume")
        for line in forecast.lines():
            progress.message(line)
        if resume:
            progress.message(f"resuming {run_dir} after outer step {start}")
        tracker = Tracker()
        if ranks.first:
            last = anew if ranks.count == 1 else anew.replace("python", f"torchrun --nproc-per-node {ranks.count}", 1)
            before = made_by(run_dir / "config.yaml") if resume and (run_dir / "config.yaml").exists() else []
            save_config(config, run_dir / "config.yaml", [*before, *([] if last in before[-1:] else [last])])
            tracker = open_trackers(config, trainer.state.run_id, start if resume else None, progress.message)
        with closing(tracker):
            trainer.run(tracker, progress, interruption)
    if interruption.signal is not None:
        if ranks.first:
            print(
                f"stopped by {interruption.signal.name} after outer step {trainer.state.outer_step}; --resume continues"
            )
        return interruption.exit_code
    if ranks.first:
        with script_progress("base networks evaluated", networks_in_report(config)) as advance:
            page, results = report_on_run(config, judged_on, advance)
        Console().print(results_table(results))
        print(f"report: {page}")
    return 0


def last_write(run_dir: Path) -> int:
    """When the last checkpoint in ``run_dir`` was written, in nanoseconds; 0 where there is none."""
    last = run_dir / "checkpoints" / "last.pt"
    return last.stat().st_mtime_ns if last.exists() else 0


def starting_point(run_dir: Path, resume: bool) -> dict[str, Any] | None:
    """The last checkpoint of a run to resume, if there is one. Raises ValueError for a run not asked to resume."""
    last = run_dir / "checkpoints" / "last.pt"
    if not resume and (last.exists() or (run_dir / "metrics.jsonl").exists()):
        raise ValueError(f"{run_dir} already holds a run: add --resume to continue it, or set another run_dir")
    return load_checkpoint(last) if last.exists() else None
