"""Keys that configs used to have, and what to write instead."""

from typing import Any

from common.yaml_dialect import yaml_value

MOVED = {
    "tasks.augmentation": "tasks.labeller={name: instances, options: {augmentation: %s}}",
    "tasks.partitions": "tasks.labeller={name: clusters, options: {partitions: %s}}",
    "tasks.groups": "tasks.labeller={name: clusters, options: {groups: %s}}",
    "tasks.encoder": "tasks.labeller={name: clusters, options: {encoder: %s}}",
    "rule.start": "rule.pretrained=%s",
    "network.kind": "network.name=%s",
    "network.hidden": "network.options.hidden=%s",
    "network.outputs": "network.options.outputs=%s",
    "network.activations": "network.options.activations=%s",
    "network.filters": "network.options.filters=%s",
    "network.channels": "network.options.channels=%s",
    "network.pooling": "network.options.pooling=%s",
    "network.batch_norm": "network.normalisation=%s",
    "outer.objective": "outer.readout=%s",
    "outer.penalty": "outer.readout={name: ridge, options: {penalty: %s}}",
    "outer.first_order": "rule.options.first_order=%s",
    "outer.betas": "outer.optimiser={name: Adam, options: {betas: %s}}",
}
"""Old dotted key -> what to write instead, with the old value in the place of %s."""


def moved(key: str, given: Any) -> str | None:
    """What to write, as ``key=value``, for ``given`` under the old dotted ``key``; None for a key that never was."""
    return MOVED[key] % yaml_value(given) if key in MOVED else None
