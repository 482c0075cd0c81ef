"""The base networks that can be named in a config, and how one is written to a file and read back."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from common.components import Registry
from inner_loop.networks.contract import NetworkFamily
from update_rules.contract import Network

NETWORKS = Registry(
    "network",
    NetworkFamily,
    {
        "mlp": "inner_loop.networks.mlp:MLPs",
        "conv4": "inner_loop.networks.conv4:Conv4s",
        "none": "inner_loop.networks.none:NoNetworks",
    },
)


def describe_network(network: Any) -> dict[str, Any] | None:
    """Kind and settings of ``network``: numbers, strings and lists, from which ``network_from`` makes it again."""
    if network is None:
        return None
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(network).items()}
    return {"kind": network.kind, **plain}


def network_from(description: Mapping[str, Any] | None) -> Network | None:
    """The network that ``describe_network`` described. Raises KeyError, TypeError or ValueError for anything else."""
    if description is None:
        return None
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name != "kind"}
    return NETWORKS.find(description["kind"]).member(**settings)
