"""Base networks by kind, as plain values that a checkpoint or a rule file can hold."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP

BaseNetwork = MLP | Conv4
KINDS = ("mlp", "conv4")


def describe_network(network: BaseNetwork) -> dict[str, Any]:
    """Kind and settings of ``network``: numbers, strings and lists, from which ``network_from`` makes it again."""
    settings = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(network).items()}
    return {"kind": "mlp" if isinstance(network, MLP) else "conv4", **settings}


def network_from(description: Mapping[str, Any]) -> BaseNetwork:
    """The network that ``describe_network`` described. Raises KeyError, TypeError or ValueError for anything else."""
    settings = {name: value for name, value in description.items() if name != "kind"}
    if description["kind"] == "conv4":
        return Conv4(**settings)
    return MLP(tuple(settings["sizes"]), settings["activation"])
