"""Where a run goes on: the newest whole checkpoint, and what the user is told about it."""

from pathlib import Path
from typing import Any, NamedTuple

from common.names import did_you_mean
from common.tensor_file import file_header
from outer_loop.config.same_experiment import goes_another_way
from outer_loop.config.schema import Config
from outer_loop.run.checkpoint import load_checkpoint, step_files
from update_rules.rule_file import BEST_FILE


class StartingPoint(NamedTuple):
    """The ``checkpoint`` to go on from, None for a new run, and the ``notes`` for the user.

    ``metrics`` are those of an earlier run, to be set aside before the new one writes its own.
    """

    checkpoint: dict[str, Any] | None
    notes: list[str]
    metrics: Path | None = None


def starting_point(run_dir: Path, resume: bool, start_anew: bool) -> StartingPoint:
    """Where a run in ``run_dir`` starts: with ``resume`` at its newest checkpoint that is not damaged.

    Where there is none, a new run starts only if ``start_anew`` allows it, or if the last one was stopped before its
    first checkpoint. Raises ValueError for a run that was not to be resumed, for none to resume, and where every
    checkpoint is damaged.
    """
    checkpoints, metrics = run_dir / "checkpoints", run_dir / "metrics.jsonl"
    files = [path for path in (checkpoints / "last.pt", *reversed(step_files(checkpoints))) if path.exists()]
    if not resume:
        if files or metrics.exists():
            raise ValueError(f"{run_dir} already holds a run: add --resume to continue it, or set another run_dir")
        return StartingPoint(None, [])
    if files:
        return _newest_whole(files)
    if metrics.exists():
        lines = metrics.read_bytes().count(b"\n")
        note = f"{run_dir} holds no checkpoint: the run starts anew, and its {lines} lines of metrics are set aside"
        return StartingPoint(None, [note], metrics)
    if start_anew:
        return StartingPoint(None, [f"{run_dir} holds no run yet: a new one starts"])
    others = [path.name for path in run_dir.parent.iterdir()] if run_dir.parent.is_dir() else []
    raise ValueError(
        f"{run_dir} holds no run to resume{did_you_mean(run_dir.name, others)}; without --resume a new one starts, and "
        "with --auto-resume whichever it is"
    )


def _newest_whole(files: list[Path]) -> StartingPoint:
    """The first of ``files`` that is no damaged checkpoint. Raises the error of the first where all are."""
    errors: list[ValueError] = []
    for path in files:
        try:
            found = load_checkpoint(path)
        except ValueError as error:
            errors.append(error)
            continue
        skipped = [f"{error}: going on from {path.name}" for error in errors[:1]]
        if not errors and path.name != "last.pt":
            skipped = [f"{path.parent} holds no last.pt: going on from {path.name}"]
        return StartingPoint(found, skipped)
    raise errors[0]


def best_is_stale(run_dir: Path, checkpoint: dict[str, Any] | None, config: Config) -> bool:
    """Whether the best rule in ``run_dir`` is gone, or of an outer step after ``checkpoint`` that is not repeated."""
    if checkpoint is None:
        return False
    done = checkpoint["state"]["outer_step"]
    if not (run_dir / BEST_FILE).exists():
        return bool(done < config.outer_steps)
    if not goes_another_way(checkpoint, config):
        return False
    try:
        steps = file_header(run_dir / BEST_FILE, "rule file").get("outer_steps", "")
    except (OSError, ValueError):
        return False
    return done < config.outer_steps and steps.isdecimal() and int(steps) > done


def set_aside(run_dir: Path, start: StartingPoint, *, best: bool) -> None:
    """Give other names to what the run from ``start`` would overwrite or mistake for its own; to be called under lock.

    These are the metrics of a run without checkpoints, step files later than the checkpoint that is gone back to, and,
    where ``best`` says so, the best rule.
    """
    later = []
    if start.metrics is not None:
        later = [start.metrics, start.metrics.with_name("timing.jsonl")]
    elif start.checkpoint is not None:
        step = start.checkpoint["state"]["outer_step"]
        later = [path for path in step_files(run_dir / "checkpoints") if int(path.stem.rpartition("_")[2]) > step]
        later += [run_dir / BEST_FILE, run_dir / "checkpoints" / "best.pt"] if best else []
    for path in later:
        if path.exists():
            number = 1
            while (kept := path.with_name(f"{path.stem}.before{number}{path.suffix}")).exists():
                number += 1
            path.replace(kept)
