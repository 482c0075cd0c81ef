"""The rules that can be named in a config or a rule file."""

import inspect
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import cast, get_type_hints

from update_rules.contract import Rule

Option = int | float | bool | str
"""The value of one keyword argument of a rule."""

RULES = {
    "metz": "update_rules.metz.metz:Metz",
    "neuron_local": "update_rules.local.neuron_local:NeuronLocal",
    "hebbian": "update_rules.local.hebbian:Hebbian",
    "maml": "update_rules.gradient.maml:Maml",
    "protonet": "update_rules.gradient.protonet:ProtoNet",
}
"""Rule names and where their classes are; a rule's module is imported when the rule is first asked for."""


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the name in ``valid`` closest to ``given``, or nothing if none is close."""
    near = get_close_matches(given, list(valid), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def rule_class(name: str) -> type[Rule]:
    """The class of the rule called ``name``. Raises ValueError for an unknown name."""
    if name not in RULES:
        raise ValueError(f"got rule {name!r}, expected one of {', '.join(RULES)}{did_you_mean(name, RULES)}")
    module, _, attribute = RULES[name].partition(":")
    return cast(type[Rule], getattr(import_module(module), attribute))


def rule_options(name: str) -> dict[str, type]:
    """The keyword arguments of a rule's constructor and their types. Raises ValueError for an unknown rule."""
    constructor = rule_class(name).__init__
    hints = get_type_hints(constructor)
    return {option: hints[option] for option in list(inspect.signature(constructor).parameters)[1:]}


def fits(value: object, kind: type) -> bool:
    """Whether ``value`` may stand for an option of type ``kind``: exactly that type, or an int where a float goes."""
    return type(value) is kind or (kind is float and type(value) is int)


def make_rule(name: str, **options: Option) -> Rule:
    """The rule called ``name``, built with ``options``; the others keep their defaults.

    Raises ValueError for an unknown rule or option, an option of the wrong type, and one without a default that lacks.
    """
    check_options(name, options)
    for option, parameter in inspect.signature(rule_class(name)).parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise ValueError(f"rule {name}: got no option {option}, which it needs")
    return rule_class(name)(**options)


def check_options(name: str, options: Mapping[str, object]) -> None:
    """Raise ValueError, naming the option, unless the rule called ``name`` can be built with ``options``."""
    valid = rule_options(name)
    for option, value in options.items():
        if option not in valid:
            raise ValueError(
                f"rule {name}: got option {option!r}, expected one of {', '.join(valid)}{did_you_mean(option, valid)}"
            )
        if not fits(value, valid[option]):
            raise ValueError(f"rule {name}: got {option}={value!r}, expected {valid[option].__name__}")
