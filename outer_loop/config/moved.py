"""Keys that configs used to have, and what to write instead."""

from collections.abc import Callable
from typing import Any

from common.yaml_dialect import yaml_value


def _option_of(name: str, option: str) -> Callable[[Any], dict[str, Any]]:
    """What holds a value that has become an ``option`` of the component ``name``."""
    return lambda given: {"name": name, "options": {option: given}}


def _as_it_is(given: Any) -> Any:
    """A value under another key."""
    return given


MOVED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "tasks.augmentation": ("tasks.labeller", _option_of("instances", "augmentation")),
    "tasks.partitions": ("tasks.labeller", _option_of("clusters", "partitions")),
    "tasks.groups": ("tasks.labeller", _option_of("clusters", "groups")),
    "tasks.encoder": ("tasks.labeller", _option_of("clusters", "encoder")),
    "rule.start": ("rule.pretrained", _as_it_is),
    "network.kind": ("network.name", _as_it_is),
    "network.hidden": ("network.options.hidden", _as_it_is),
    "network.outputs": ("network.options.outputs", _as_it_is),
    "network.activations": ("network.options.activations", _as_it_is),
    "network.filters": ("network.options.filters", _as_it_is),
    "network.channels": ("network.options.channels", _as_it_is),
    "network.pooling": ("network.options.pooling", _as_it_is),
    "network.batch_norm": ("network.normalisation", _as_it_is),
    "outer.objective": ("outer.readout", _as_it_is),
    "outer.penalty": ("outer.readout", _option_of("ridge", "penalty")),
    "outer.first_order": ("rule.options.first_order", _as_it_is),
    "outer.betas": ("outer.optimiser", _option_of("Adam", "betas")),
}
"""Old dotted key -> the key that took its place, and what to write there for a value of the old one."""


def moved(key: str, given: Any) -> str | None:
    """What to write, as ``key=value``, for ``given`` under the old dotted ``key``; None for a key that never was."""
    if key not in MOVED:
        return None
    place, write = MOVED[key]
    return f"{place}={yaml_value(write(given))}"
