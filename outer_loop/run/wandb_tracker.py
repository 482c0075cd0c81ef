"""A mirror of a run in Weights & Biases: online, or offline for a later ``wandb sync``."""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from numpy.typing import NDArray

from outer_loop.config.schema import TrackingConfig
from outer_loop.run.tracking import Metrics, Tracker, one_line
from outer_loop.run.wandb_charts import LINES, PROJECT, RULE_CHARTS, charts, curves

INIT_TIMEOUT_S = 30
FINISH_TIMEOUT_S = 120
"""How long a slow connection may hold up the start and the end; what is not uploaded stays on disk."""


class WandbTracker(Tracker):
    """A silent wandb run ``run_id`` in ``run_dir``, new or continued; ``mode`` is ``online`` or ``offline``."""

    def __init__(
        self, run_dir: str | Path, config: Mapping[str, Any], run_id: str, mode: str, settings: TrackingConfig
    ) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or settings.project or PROJECT,
            name=os.environ.get("WANDB_NAME") or Path(run_dir).name,
            dir=str(run_dir),
            id=run_id,
            resume="allow",
            config=dict(config),
            group=settings.group or None,
            job_type=settings.job_type,
            tags=list(settings.tags) or None,
            notes=settings.notes or None,
            settings=_quiet(mode=mode, init_timeout=INIT_TIMEOUT_S, finish_timeout=FINISH_TIMEOUT_S),
        )
        # wandb counts a step of its own, which starts again at 0 when an offline run is resumed and drops what lies
        # behind it. So it is never passed, and outer_step is the x axis.
        self._run.define_metric("outer_step", hidden=True)
        self._run.define_metric("*", step_metric="outer_step")
        self._run.define_metric(f"{RULE_CHARTS}*", step_metric="outer_step", hidden=True)
        self._validated: dict[str, dict[str, dict[int, float]]] = {}
        _link(Path(run_dir), Path(self._run.dir).parent)

    def log(self, outer_step: int, metrics: Metrics, *, timing: bool = False) -> None:
        """A row of the run's history, and a chart of accuracy by inner step for each source that was validated."""
        self._run.log({"outer_step": outer_step, **charts(metrics)})
        for chart, source, curve in curves(metrics):
            lines = self._validated.setdefault(chart, {})
            lines[f"outer step {outer_step}"] = curve
            if len(lines) > LINES:
                del lines[list(lines)[1]]
            self.log_curves(outer_step, f"{chart}_by_inner_step", f"{source}: accuracy", "inner step", lines)

    def log_images(self, outer_step: int, name: str, images: Mapping[str, NDArray[np.uint8]]) -> None:
        """The pictures under ``name``, each with its caption."""
        shown = [wandb.Image(image, caption=caption) for caption, image in images.items()]
        self._run.log({"outer_step": outer_step, name: shown})

    def log_curves(
        self, outer_step: int, name: str, title: str, x: str, lines: Mapping[str, Mapping[int, float]]
    ) -> None:
        """One chart with a line for each of ``lines``."""
        chart = wandb.plot.line_series(
            xs=[list(line) for line in lines.values()],
            ys=[list(line.values()) for line in lines.values()],
            keys=list(lines),
            title=title,
            xname=x,
        )
        self._run.log({"outer_step": outer_step, name: chart})

    def log_table(self, outer_step: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A ``wandb.Table`` under ``name``."""
        table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
        self._run.log({"outer_step": outer_step, name: table})

    def log_page(self, outer_step: int, name: str, page: Path) -> None:
        """The HTML page under ``name``."""
        self._run.log({"outer_step": outer_step, name: wandb.Html(page.read_text(encoding="utf-8"), inject=False)})

    def summarise(self, values: Metrics) -> None:
        """Figures in the run's summary, by which wandb's table of runs can be sorted."""
        self._run.summary.update(dict(values))

    def log_artifact(self, path: Path, name: str) -> None:
        """A version of the artifact ``name``."""
        artifact = wandb.Artifact(name, type="rule")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def close(self) -> None:
        """Finish the run: upload what is left, for at most FINISH_TIMEOUT_S seconds."""
        self._run.finish()


def open_wandb(
    run_dir: str | Path,
    config: Mapping[str, Any],
    run_id: str,
    settings: TrackingConfig,
    say: Callable[[str], None],
) -> list[Tracker]:
    """The wandb mirror that ``settings`` and the variable WANDB_MODE, which goes first, ask for: one or none.

    Where wandb cannot be reached the run is kept offline, which ``say`` is told. Raises wandb's own errors.
    """
    mode = os.environ.get("WANDB_MODE") or settings.mode
    if mode == "auto":
        mode = "online" if logged_in() else "offline"
    if mode == "disabled":
        return []
    try:
        return [WandbTracker(run_dir, config, run_id, mode, settings)]
    except wandb.errors.CommError as error:
        if mode != "online":
            raise
        wandb.teardown()
        say(f"wandb cannot be reached ({one_line(error)}); the run is kept offline, `wandb sync` uploads it later")
        return [WandbTracker(run_dir, config, run_id, "offline", settings)]


def logged_in() -> bool:
    """Whether wandb finds a key in WANDB_API_KEY, its settings or the netrc file. It is not tried out."""
    wandb.setup(_quiet())
    return bool(wandb.login(prompt=False, verify=False))


def _quiet(**settings: Any) -> wandb.Settings:
    """Settings with which wandb prints nothing and leaves the terminal alone."""
    return wandb.Settings(silent=True, console="off", **settings)


def _link(run_dir: Path, folder: Path) -> None:
    """Link wandb's ``folder`` of a run beside ``run_dir``, so that ``wandb leet`` finds the runs of a whole folder."""
    link = run_dir.resolve().parent / folder.name
    with contextlib.suppress(OSError):
        link.symlink_to(Path(os.path.relpath(folder.resolve(), link.parent)), target_is_directory=True)
