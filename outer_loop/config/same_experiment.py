"""What must agree between a checkpoint and the run that goes on from it."""

from collections.abc import Mapping
from typing import Any

from outer_loop.config.file import by_dotted_key
from outer_loop.config.schema import Config

NEW_ON_RESUME = frozenset(
    {
        *("outer_steps", "tracking", "checkpoint_every", "keep", "threads", "device", "run_dir", "inner.recompute"),
        *("inner.compile", "matmul_precision"),  # speed, at the price of rounding
        *("outer.learning_rate", "outer.final_learning_rate", "outer.clip"),  # what a run that diverged needs to go on
    }
)
"""Settings that a resumed run may change, besides those of its report."""


def check_same_experiment(checkpoint: Mapping[str, Any], config: Config, data: str) -> None:
    """Raise ValueError where the checkpoint was made with other settings, or other data than the fingerprint says.

    A setting that is newer than the checkpoint counts as its default, which is how runs went before there was any.
    """
    default, now = (by_dotted_key(settings.model_dump(mode="json")) for settings in (Config(), config))
    before = default | by_dotted_key(checkpoint["config"])
    changed = [
        f"{key} was {before.get(key)}, got {now.get(key)}"
        for key in sorted(before.keys() | now.keys())
        if key not in NEW_ON_RESUME and not key.startswith("report.") and before.get(key) != now.get(key)
    ]
    if changed:
        raise ValueError(f"cannot resume with other settings: {'; '.join(changed)}; restore them or set a new run_dir")
    if checkpoint["data"] != data:
        raise ValueError(
            f"cannot resume: the data of {', '.join(config.tasks.sources)} are not those of the checkpoint; "
            "restore them or set a new run_dir"
        )
