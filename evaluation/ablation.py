"""A trained rule with one of its parts switched off, to see what it needs."""

from collections.abc import Iterator
from copy import deepcopy
from types import EllipsisType

import torch

from update_rules.contract import Rule
from update_rules.local.hebbian import BIAS_TERMS as HEBBIAN_BIAS_TERMS
from update_rules.local.hebbian import TERMS as HEBBIAN_TERMS
from update_rules.local.hebbian import Hebbian
from update_rules.local.local_terms import CONTEXT
from update_rules.local.neuron_change import TERMS
from update_rules.local.neuron_local import OWN, NeuronLocal

Index = int | EllipsisType | tuple[slice, int | list[int]]
Part = list[tuple[str, Index]]
"""Parameters by name, and where in them a part lies."""

ALL = slice(None)


def knock_outs(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The name of each part of ``rule`` with a copy that lacks it: every term of the weight change, and more.

    Of ``neuron_local`` also the error channels, the lateral inputs, what straightens activations, and that mixing and
    rate follow inner time; of ``hebbian`` also the terms of the bias change, that the rate follows inner time, that
    terms and changes are bounded and that weights have columns of rms 1. What is off is 0 at every depth and time, and
    what normalised does nothing. Raises ValueError for other rules.
    """
    if isinstance(rule, NeuronLocal):
        parts = _of_neuron_local(rule)
    elif isinstance(rule, Hebbian):
        parts = _of_hebbian(rule)
    else:
        raise ValueError(f"got rule {rule.name}, expected neuron_local or hebbian, whose parts have names")
    for name, part in parts.items():
        less = deepcopy(rule)
        with torch.no_grad():
            for parameter, index in part:
                less.get_parameter(parameter)[index] = 0
        yield name, less
    if isinstance(rule, Hebbian):
        for name, normalisation in (("bounds", "bounded"), ("unit columns", "unit_columns")):
            less = deepcopy(rule)
            setattr(less, normalisation, torch.clone)
            yield name, less


def _of_neuron_local(rule: NeuronLocal) -> dict[str, Part]:
    parts: dict[str, Part] = {
        f"term {term}": [("mixing", place), ("mixing_slopes", (ALL, place))] for place, term in enumerate(TERMS)
    }
    errors = list(range(len(OWN), len(OWN) + rule.error_channels))
    lateral = [OWN.index("lead"), OWN.index("share")]
    for name, inputs in (("error channels", errors), ("lateral inputs", lateral)):
        parts[name] = [("neuron.example", (ALL, inputs)), ("from_inputs", (ALL, inputs))]
    parts["straighten"] = [("straighten", ...)]
    time = CONTEXT.index("time")
    return parts | {"inner time": [("mixing_slopes", time), ("rate_slopes", time)]}


def _of_hebbian(rule: Hebbian) -> dict[str, Part]:
    parts: dict[str, Part] = {
        f"term {term}": [("constant", place), ("slope", place)] for place, term in enumerate(HEBBIAN_TERMS)
    }
    parts |= {
        f"bias term {term}": [(name, place) for name in rule.all_bias_names()]
        for place, term in enumerate(HEBBIAN_BIAS_TERMS)
    }
    return parts | {"inner time": [("power", ...)]}
