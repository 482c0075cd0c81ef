"""Which base network a rule trains and how, as the rule's file says where a user does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inner_loop.networks.contract import NetworkFamily
from inner_loop.networks.mlp import MLPs
from inner_loop.networks.registry import NETWORKS
from update_rules.contract import Network
from update_rules.rule_file import RuleHeader

USUAL_NETWORK = {"name": "mlp", "options": {"hidden": [[64, 64]], "outputs": 32, "activations": ["relu"]}}
"""The base network where nobody says which."""

DENSE = ("hidden", "outputs", "activation")
"""What users may say of a network of dense layers, each by itself."""

SAID = ("network", "steps", "batch", "normalisation", "readout", "size", "permute")
"""What a rule file may say of its rule's use."""

LEAST = {"hidden": 1, "outputs": 1, "steps": 0, "batch": 2}
"""The least that a setting, or each of several, may be."""


@dataclass(frozen=True)
class InnerSettings:
    """The first network of a family, and ``steps`` inner steps of ``batch`` examples."""

    network: NetworkFamily = field(default_factory=lambda: MLPs(((64, 64),), 32, ("relu",)))
    steps: int = 50
    batch: int = 64

    def base_network(self, inputs: int, logits: int = 0) -> Network:
        """The base network for ``inputs`` inputs; with ``logits`` > 0 these are its outputs."""
        return self.network.first(inputs, logits)


def settings_of(header: RuleHeader | None, given: Mapping[str, Any]) -> InnerSettings:
    """The settings ``given`` that are not None, else those of the rule file with ``header``, else the usual ones.

    ``given`` may hold steps, batch and those of DENSE. Raises ValueError for what is no setting of the rule's network.
    """
    said = {} if header is None else dict(header.use)
    where = "" if header is None else f"{header.where}: "
    for name, value in said.items():
        if name not in SAID:
            expected = f"nothing but {', '.join(SAID)}"
            raise ValueError(f"{where}says that its rule is used with {name} {value!r}, expected {expected}")
    network = said.get("network", USUAL_NETWORK)
    if not isinstance(network, dict) or not isinstance(network.get("options"), dict):
        raise ValueError(f"{where}says that its rule is used with network {network!r}, expected a name and options")
    options = dict(network["options"])
    if given.get("hidden") is not None:
        options["hidden"] = [[int(units) for units in given["hidden"]]]
    if given.get("outputs") is not None:
        options["outputs"] = int(given["outputs"])
    if given.get("activation") is not None:
        options["activations"] = [given["activation"]]
    steps, batch = (_count(name, given.get(name), said, where) for name in ("steps", "batch"))
    if header is not None:
        NETWORKS.check_trust(str(network.get("name")), header.trust, header.where)
    try:
        family = NETWORKS.make(str(network.get("name")), options)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    return InnerSettings(family, steps, batch)


def _count(name: str, given: int | None, said: Mapping[str, Any], where: str) -> int:
    if given is not None:
        return int(given)
    value = said.get(name, getattr(InnerSettings, name))
    if type(value) is not int or value < LEAST[name]:
        expected = f"a whole number of {LEAST[name]} or more"
        raise ValueError(f"{where}says that its rule is used with {name} {value!r}, expected {expected}")
    return value
