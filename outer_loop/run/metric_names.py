"""The names of what a run measures on data, in ``metrics.jsonl`` and in trackers."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from outer_loop.config.probes import Probe

TRAINING, VALIDATION, FAR = KINDS = ("train", "valid", "far")
"""What a source is to a run: trained on, judged on alone, or shown beside without a say."""

PLACE = rf"({'|'.join(KINDS)})/(.+)"
"""How every name of an accuracy begins, as a pattern: with the kind of a source and the source, whatever is in it."""

CHOSEN_BY, BEST = "valid_accuracy", "best_valid_accuracy"
"""By what the best rule is chosen: the mean over validation sources, labels and probes; and the highest so far."""


class AccuracyName(NamedTuple):
    """The name of a readout accuracy, such as ``valid/digits/accuracy@50``."""

    kind: str
    """One of KINDS."""
    source: str
    step: int
    """Inner steps before the readout."""

    def __str__(self) -> str:
        return f"{self.kind}/{self.source}/accuracy@{self.step}"


def accuracy_name(key: str) -> AccuracyName | None:
    """The parts of ``key``, or None where it names no accuracy."""
    found = re.fullmatch(rf"{PLACE}/accuracy@(\d+)", key)
    return AccuracyName(found[1], found[2], int(found[3])) if found else None


class ReadName(NamedTuple):
    """The name of an accuracy after the last inner step, such as ``valid/digits/10 labels/logistic``."""

    kind: str
    source: str
    shots: int
    probe: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.source}/{self.shots} label{'s'[: self.shots > 1]}/{self.probe}"


def read_name(key: str) -> ReadName | None:
    """The parts of ``key``, or None where it names no such accuracy."""
    found = re.fullmatch(rf"{PLACE}/(\d+) labels?/({'|'.join(get_args(Probe))})", key)
    return ReadName(found[1], found[2], int(found[3]), found[4]) if found else None


def read_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str, int, str, float]]:
    """Kind, source, labels, probe and accuracy of all among ``metrics`` that ``read_name`` knows."""
    return [(*name, value) for key, value in metrics.items() if (name := read_name(key)) is not None]


def judged_names(metrics: Mapping[str, Any], *kinds: str) -> list[AccuracyName]:
    """The accuracies by inner step on sources of ``kinds`` among ``metrics``, in their order."""
    names = [accuracy_name(key) for key in metrics]
    return [name for name in names if name is not None and name.kind in kinds]
