"""A trained rule with one of its parts switched off, to see what it needs."""

from collections.abc import Iterator
from copy import deepcopy

import torch

from update_rules.contract import Rule
from update_rules.hebbian import TERMS as HEBBIAN_TERMS
from update_rules.hebbian import Hebbian
from update_rules.local_terms import CONTEXT
from update_rules.neuron_change import TERMS
from update_rules.neuron_local import OWN, NeuronLocal


def knock_outs(rule: Rule) -> Iterator[tuple[str, Rule]]:
    """The name of each part of ``rule`` with a copy that lacks it: every term of the weight change, and more.

    Of ``neuron_local`` also the error channels, the lateral inputs, and that mixing and rate follow inner time; of
    ``hebbian`` also that the rate does. What is off is 0 at every depth and time. Raises ValueError for other rules.
    """
    if isinstance(rule, NeuronLocal):
        yield from _of_neuron_local(rule)
    elif isinstance(rule, Hebbian):
        yield from _of_hebbian(rule)
    else:
        raise ValueError(f"got rule {rule.name}, expected neuron_local or hebbian, whose parts have names")


def _of_neuron_local(rule: NeuronLocal) -> Iterator[tuple[str, Rule]]:
    for place, term in enumerate(TERMS):
        less = deepcopy(rule)
        with torch.no_grad():
            less.mixing[place] = 0
            less.mixing_slopes[:, place] = 0
        yield f"term {term}", less
    lateral = [OWN.index("lead"), OWN.index("share")]
    errors = list(range(len(OWN), len(OWN) + rule.error_channels))
    for name, inputs in (("error channels", errors), ("lateral inputs", lateral)):
        less = deepcopy(rule)
        with torch.no_grad():
            for weights in (less.neuron.example, less.from_inputs):
                weights[:, inputs] = 0
        yield name, less
    less = deepcopy(rule)
    with torch.no_grad():
        for slopes in (less.mixing_slopes, less.rate_slopes):
            slopes[CONTEXT.index("time")] = 0
    yield "inner time", less


def _of_hebbian(rule: Hebbian) -> Iterator[tuple[str, Rule]]:
    for place, term in enumerate(HEBBIAN_TERMS):
        less = deepcopy(rule)
        with torch.no_grad():
            less.constant[place] = 0
            less.slope[place] = 0
        yield f"term {term}", less
    less = deepcopy(rule)
    with torch.no_grad():
        less.power.zero_()
    yield "inner time", less
