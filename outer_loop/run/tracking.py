"""Following a run: ``metrics.jsonl`` is the truth, everything else mirrors it.

What differs between equal runs, seconds and memory, is kept apart. Names say the unit: ``timing/outer_step_s``.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from common.atomic_file import atomic_write
from outer_loop.config.schema import Config, TrackingConfig

Metrics = Mapping[str, float]


class Tracker:
    """The base tracker: it takes everything and keeps nothing."""

    def log(self, outer_step: int, metrics: Metrics, *, timing: bool = False) -> None:
        """What equal runs share after ``outer_step`` outer steps; with ``timing`` what differs: seconds, memory."""

    def log_images(self, outer_step: int, name: str, images: Mapping[str, NDArray[np.uint8]]) -> None:
        """Pictures by caption, uint8 [H, W] or [H, W, 3] each."""

    def log_curves(
        self, outer_step: int, name: str, title: str, x: str, lines: Mapping[str, Mapping[int, float]]
    ) -> None:
        """Lines of one chart: for each what it is called, and its values by ``x``."""

    def log_table(self, outer_step: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of texts and numbers."""

    def log_page(self, outer_step: int, name: str, page: Path) -> None:
        """An HTML page that needs no other file."""

    def summarise(self, values: Metrics) -> None:
        """Figures that stand for the whole run."""

    def log_artifact(self, path: Path, name: str) -> None:
        """A file that the run made, as it is now."""

    def close(self) -> None:
        """Write what is still held back. Nothing can be logged afterwards."""


class JsonlTracker(Tracker):
    """One JSON object a line, ``outer_step`` first, NaN and infinity as null: in ``path``, and timings beside it.

    With ``resume_at`` lines of later outer steps and torn ones are dropped first, so that the file of a resumed run is
    that of one that never stopped; without it both files start empty. Raises OSError if a file cannot be written, and
    ValueError if there is something else in it.
    """

    def __init__(self, path: str | Path, resume_at: int | None = None) -> None:
        path = Path(path)
        self._files: list[IO[str]] = []
        for name in (path, path.with_name("timing.jsonl")):
            if resume_at is not None and name.exists():
                _drop_lines_after(name, resume_at)
            self._files.append(name.open("w" if resume_at is None else "a", encoding="utf-8"))

    def log(self, outer_step: int, metrics: Metrics, *, timing: bool = False) -> None:
        """A line in ``path`` or, with ``timing``, in ``timing.jsonl``."""
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        file = self._files[timing]
        file.write(json.dumps({"outer_step": outer_step, **values}, allow_nan=False) + "\n")
        file.flush()

    def close(self) -> None:
        """Close both files."""
        for file in self._files:
            file.close()


def _to_each(method: str) -> Any:
    """The method of that name of Trackers, which calls each tracker's."""

    def call(self: "Trackers", *given: Any, **how: Any) -> None:
        self._each(method, *given, **how)

    return call


class Trackers(Tracker):
    """Several trackers as one: the ``truth``, whose errors are the run's, and ``mirrors``, which cannot stop it.

    A mirror that fails is reported once through ``say`` and left out from then on.
    """

    def __init__(self, truth: Tracker, mirrors: Sequence[Tracker], say: Callable[[str], None]) -> None:
        self._truth, self._mirrors, self._say = truth, list(mirrors), say

    log, log_images, log_curves, log_table, log_page, summarise, log_artifact, close = map(
        _to_each, ("log", "log_images", "log_curves", "log_table", "log_page", "summarise", "log_artifact", "close")
    )

    def _each(self, method: str, *given: Any, **how: Any) -> None:
        getattr(self._truth, method)(*given, **how)
        for mirror in list(self._mirrors):
            try:
                getattr(mirror, method)(*given, **how)
            except Exception as error:  # whatever a mirror does, the run goes on
                self._mirrors.remove(mirror)
                self._say(f"{type(mirror).__name__} stopped, the run goes on without it: {one_line(error)}")


def open_trackers(config: Config, run_id: str, resume_at: int | None, say: Callable[[str], None]) -> Trackers:
    """The trackers that ``config.tracking`` asks for, in ``config.run_dir``, which exists. Raises as ``JsonlTracker``.

    ``resume_at`` is the checkpoint's outer step, None for a new run. ``say`` is told where wandb does not start.
    """
    truth = JsonlTracker(Path(config.run_dir) / "metrics.jsonl", resume_at)
    mirrors = open_mirrors(config.run_dir, config.model_dump(mode="json"), run_id, config.tracking, say)
    return Trackers(truth, mirrors, say)


def open_mirrors(
    run_dir: str | Path, about: Mapping[str, Any], run_id: str, settings: TrackingConfig, say: Callable[[str], None]
) -> list[Tracker]:
    """wandb's mirror, in ``run_dir``, of what is ``about``; none where ``settings`` ask for none.

    Neither is one where it does not start, which ``say`` is told.
    """
    if settings.mode == "off":
        return []
    try:
        from outer_loop.run.wandb_tracker import open_wandb  # importing wandb takes a second

        Path(run_dir).mkdir(parents=True, exist_ok=True)
        return open_wandb(run_dir, about, run_id, settings, say)
    except Exception as error:  # no network, a wrong key, a full quota: none of them is worth the run
        say(f"wandb did not start, the run goes on without it: {one_line(error)}")
        return []


def one_line(error: Exception) -> str:
    """The message of ``error`` without line breaks, or its type where there is none."""
    return " ".join(str(error).split()) or type(error).__name__


def _drop_lines_after(path: Path, outer_step: int) -> None:
    """Rewrite ``path`` without the lines of outer steps after ``outer_step`` and without a torn last line."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    kept = [line for number, line in enumerate(whole, start=1) if _step_of(line, path, number) <= outer_step]
    if b"".join(kept) != content:
        with atomic_write(path) as file:
            file.writelines(kept)


def _step_of(line: bytes, path: Path, number: int) -> int:
    try:
        step = json.loads(line)["outer_step"]
    except (ValueError, TypeError, KeyError):
        step = None
    if isinstance(step, int):
        return step
    raise ValueError(f"{path}: line {number} is not an object with outer_step; repair it or start a new run_dir")
