"""A mirror of a run in Weights & Biases: online, or offline for a later ``wandb sync``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from numpy.typing import NDArray

from outer_loop.config.schema import Config
from outer_loop.run.tracking import Metrics, Tracker

PROJECT = "unsupervised-update-rules"
INIT_TIMEOUT_S = 30
FINISH_TIMEOUT_S = 120
"""How long a slow connection may hold up the start and the end; what is not uploaded stays on disk."""


class WandbTracker(Tracker):
    """A silent wandb run ``run_id`` in ``run_dir``, new or continued; ``mode`` is ``online`` or ``offline``."""

    def __init__(self, run_dir: str | Path, settings: Mapping[str, Any], run_id: str, mode: str) -> None:
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", Path(run_dir).name),
            dir=str(run_dir),
            id=run_id,
            resume="allow",
            config=dict(settings),
            settings=_quiet(mode=mode, init_timeout=INIT_TIMEOUT_S, finish_timeout=FINISH_TIMEOUT_S),
        )
        # wandb counts a step of its own, which starts again at 0 when an offline run is resumed and drops what lies
        # behind it. So it is never passed, and outer_step is the x axis.
        self._run.define_metric("outer_step", hidden=True)
        self._run.define_metric("*", step_metric="outer_step")

    def log(self, outer_step: int, metrics: Metrics, *, timing: bool = False) -> None:
        """A row of the run's history."""
        self._run.log({"outer_step": outer_step, **metrics})

    def log_images(self, outer_step: int, name: str, images: Sequence[NDArray[np.uint8]]) -> None:
        """The pictures under ``name``."""
        self._run.log({"outer_step": outer_step, name: [wandb.Image(image) for image in images]})

    def log_artifact(self, path: Path, name: str) -> None:
        """A version of the artifact ``name``."""
        artifact = wandb.Artifact(name, type="rule")
        artifact.add_file(str(path))
        self._run.log_artifact(artifact)

    def close(self) -> None:
        """Finish the run: upload what is left, for at most FINISH_TIMEOUT_S seconds."""
        self._run.finish()


def open_wandb(config: Config, run_id: str) -> list[Tracker]:
    """The wandb mirror that ``config.tracking`` and the variable WANDB_MODE, which goes first, ask for: one or none."""
    mode = os.environ.get("WANDB_MODE") or config.tracking
    if mode == "auto":
        mode = "online" if logged_in() else "offline"
    if mode == "disabled":
        return []
    return [WandbTracker(config.run_dir, config.model_dump(mode="json"), run_id, mode)]


def logged_in() -> bool:
    """Whether wandb finds a key in WANDB_API_KEY, its settings or the netrc file. It is not tried out."""
    wandb.setup(_quiet())
    return bool(wandb.login(prompt=False, verify=False))


def _quiet(**settings: Any) -> wandb.Settings:
    """Settings with which wandb prints nothing and leaves the terminal alone."""
    return wandb.Settings(silent=True, console="off", **settings)
