"""Which base network a rule trains and how, as the rule's file says where a user does not."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from inner_loop.networks.activations import NETWORK_ACTIVATIONS
from update_rules.rule_file import RuleHeader


@dataclass(frozen=True)
class InnerSettings:
    """A base network with units by layer, and ``steps`` inner steps of ``batch`` examples."""

    hidden: tuple[int, ...] = (64, 64)
    outputs: int = 32
    activation: str = "relu"
    steps: int = 50
    batch: int = 64


SETTINGS = tuple(field.name for field in fields(InnerSettings))

LEAST = {"hidden": 1, "outputs": 1, "steps": 0, "batch": 2}
"""The least that a setting, or each of several, may be."""


def settings_of(header: RuleHeader | None, given: Mapping[str, Any]) -> InnerSettings:
    """The settings ``given`` that are not None, else those of the rule file with ``header``, else the usual ones.

    Raises ValueError where the file says what is no setting.
    """
    settings: dict[str, Any] = {}
    if header is not None:
        for name, value in header.use.items():
            _check(name, value, header.where)
        settings |= header.use
    settings |= {name: value for name, value in given.items() if value is not None}
    if "hidden" in settings:
        settings["hidden"] = tuple(settings["hidden"])
    return InnerSettings(**settings)


def _check(name: str, value: Any, where: str) -> None:
    """Raise ValueError, beginning with ``where``, unless a rule file may say ``value`` of ``name``."""
    least = LEAST.get(name, 0)
    if name == "activation":
        right, expected = value in NETWORK_ACTIVATIONS, f"one of {', '.join(NETWORK_ACTIVATIONS)}"
    elif name == "hidden":
        right = isinstance(value, list) and all(type(units) is int and units >= least for units in value)
        expected = f"a list of whole numbers of {least} or more"
    elif name in LEAST:
        right, expected = type(value) is int and value >= least, f"a whole number of {least} or more"
    else:
        right, expected = False, f"no other settings than {', '.join(SETTINGS)}"
    if not right:
        raise ValueError(f"{where}: says that its rule is used with {name} {value!r}, expected {expected}")
