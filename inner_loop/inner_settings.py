"""Which base network a rule trains and how, as the rule's file says where a user does not."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from inner_loop.activations import NETWORK_ACTIVATIONS
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

_LEAST = {"hidden": 1, "outputs": 1, "steps": 0, "batch": 2}


def settings_of(header: RuleHeader | None, given: Mapping[str, Any]) -> InnerSettings:
    """The settings ``given`` that are not None, else those of the rule file with ``header``, else the usual ones.

    Raises ValueError where the file holds others than settings.
    """
    said = dict(header.use) if header is not None else {}
    for name, value in said.items():
        _check(name, value)
    if "hidden" in said:
        said["hidden"] = tuple(said["hidden"])
    return replace(InnerSettings(), **said | {name: value for name, value in given.items() if value is not None})


def _check(name: str, value: Any) -> None:
    """Raise ValueError unless a rule file may say ``value`` of ``name``."""
    if name == "activation":
        right = value in NETWORK_ACTIVATIONS
    elif name in _LEAST:
        numbers = value if name == "hidden" and isinstance(value, list) else [value]
        right = all(type(number) is int and number >= _LEAST[name] for number in numbers)
        right = right and (name == "hidden") == isinstance(value, list)
    else:
        right = False
    if not right:
        raise ValueError(
            f"the rule file says that its rule is used with {name} {value!r}, expected {', '.join(SETTINGS)} of base "
            "networks; the file is damaged or of a later version"
        )
