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
"""Settings that a resumed run may change, besides those of its report and its tracking."""


SOURCES = {
    "tasks.sources": "data",
    **dict.fromkeys(("evaluation.sources", "evaluation.training", "evaluation.far"), "validation"),
}
"""Settings that name data, and where a checkpoint has the fingerprint of these."""


STEERING = ("outer_steps", "outer.learning_rate", "outer.final_learning_rate", "outer.clip")
"""Those of them by which θ goes another way."""


def goes_another_way(checkpoint: Mapping[str, Any], config: Config) -> bool:
    """Whether a run by ``config`` that goes on from ``checkpoint`` does not repeat what came after that."""
    before, now = _settings(checkpoint, config)
    return any(before.get(key) != now.get(key) for key in STEERING)


def _settings(checkpoint: Mapping[str, Any], config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """By dotted key those of the ``checkpoint``, newer ones at their defaults, and those of ``config``."""
    default, now = (by_dotted_key(settings.model_dump(mode="json")) for settings in (Config(), config))
    return default | by_dotted_key(checkpoint["config"]), now


def check_same_experiment(checkpoint: Mapping[str, Any], config: Config, data: Mapping[str, str]) -> list[str]:
    """The settings that differ from those of the ``checkpoint`` and may, as ``key was A, is B``.

    Data may have moved: those that have the fingerprints ``data``, under "data" and "validation", are the same. A
    setting that is newer than the checkpoint counts as its default, which is how runs went before there was any. Raises
    ValueError for other settings, and other data.
    """
    before, now = _settings(checkpoint, config)
    if "evaluation.probes" not in by_dotted_key(checkpoint["config"]):  # which judged otherwise than the default does
        before |= {"evaluation.probes": ["ridge"], "evaluation.shots": [config.tasks.shots[1]]}
    may: list[tuple[str, Any, Any]] = []
    may_not: list[tuple[str, Any, Any]] = []
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) == now.get(key):
            continue
        moved = key in SOURCES and checkpoint.get(SOURCES[key]) == data[SOURCES[key]]
        free = key in NEW_ON_RESUME or key.startswith(("report.", "tracking.")) or moved
        (may if free else may_not).append((key, before.get(key), now.get(key)))
    if may_not:
        changed = "; ".join(f"{key} was {was}, got {got}" for key, was, got in may_not)
        raise ValueError(f"cannot resume with other settings: {changed}; restore them or set a new run_dir")
    if "validation" in checkpoint and checkpoint["validation"] != data["validation"]:
        raise ValueError(
            f"cannot resume: the data of {', '.join(config.evaluation.sources)}, by which the best rule is chosen, are "
            "not those of the checkpoint; restore them or set a new run_dir"
        )
    if checkpoint["data"] != data["data"]:
        raise ValueError(
            f"cannot resume: the data of {', '.join(config.tasks.sources)} are not those of the checkpoint; "
            "restore them or set a new run_dir"
        )
    return [f"{key} was {was}, is {got}" for key, was, got in may if key != "tracking"]
