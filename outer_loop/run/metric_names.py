"""The names of what a run measures on data, in ``metrics.jsonl`` and in trackers."""

from collections.abc import Mapping
from typing import Any, NamedTuple

TRAINING, VALIDATION = "train", "valid"
"""What a source is to a run: trained on, or judged on alone."""


class AccuracyName(NamedTuple):
    """The name of a readout accuracy, such as ``valid/digits/accuracy@50``."""

    kind: str
    """TRAINING or VALIDATION."""
    source: str
    step: int
    """Inner steps before the readout."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.source}/accuracy@{self.step}"


def accuracy_name(key: str) -> AccuracyName | None:
    """The parts of ``key``, or None where it names no accuracy."""
    place, found, step = key.rpartition("/accuracy@")
    kind, _, source = place.partition("/")
    return AccuracyName(kind, source, int(step)) if found and kind in (TRAINING, VALIDATION) else None


def validation_names(metrics: Mapping[str, Any]) -> list[AccuracyName]:
    """The accuracies on validation sources among ``metrics``, in their order."""
    names = [accuracy_name(key) for key in metrics]
    return [name for name in names if name is not None and name.kind == VALIDATION]
