"""The options of a rule: kept with it however they were given, and refused by name where they are impossible."""

from copy import deepcopy

import pytest
import torch
from rule_states import made

from examples import RULES as EXAMPLES
from update_rules.registry import make_rule


def test_a_rule_knows_what_it_was_built_with_however_that_was_said() -> None:
    expected = {"weights": "w1=9x5 b1=5", "rate": 0.25, "learned_rates": False, "steps": 5, "first_order": 0, "seed": 3}
    expected |= {"adapt_normalisation": False, "per_step_normalisation": False, "pretraining": 0}
    rule = make_rule("maml", weights="w1=9x5 b1=5", rate=0.25, seed=3)
    again = type(rule)("w1=9x5 b1=5", 0.25, seed=3)
    assert rule.config == again.config == deepcopy(rule).config == expected
    for name, value in rule.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("metz", "hidden", 0),
        ("metz", "h_layers", -1),
        ("neuron_local", "error_channels", 0),
        ("neuron_local", "rate", 1.5),
        ("hebbian", "rate", 0.0),
        ("maml", "rate", 0.0),
        ("maml", "steps", 0),
        ("sca", "critic", "none"),
        ("sca", "critic_rate", 0.0),
        ("sca", "critic_steps", -1),
        ("maml", "first_order", -1),
        ("maml", "pretraining", -1),
        ("maml", "weights", "w1=9x"),
        ("protonet", "weights", "q1=9"),
    ],
)
def test_impossible_options_are_named(name: str, option: str, value: float | str) -> None:
    given = repr(value) if isinstance(value, str) else value
    (one,) = (one for one in EXAMPLES if one.name == name)
    with pytest.raises(ValueError, match=f"got {option} {given} for the {name} rule"):
        made(one, **{option: value})
