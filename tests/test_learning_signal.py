"""Rules that cannot learn, or draw noise where they must not, are refused in words of the rule."""

from collections.abc import Callable

import numpy as np
import pytest
from runs import Arguments

from common.notice import Notice
from inner_loop.transformer import RuleFeatures
from unsupervised_update_rules.commands import meta_train

RULES = '''
"""Rules with a fault each."""

import torch
from torch import nn

from update_rules.contract import Rule


class Healthy(Rule):
    """Oja's rule, in part."""

    name = "healthy"

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.1))

    def init_state(self, problem, generator):
        return {name: torch.randn(shape, generator=generator) for name, shape in problem.network.shapes.items()}

    def change(self, problem, state, x):
        return x.mT @ problem.network.forward(state, x).x[1] / len(x)

    def step(self, problem, state, views, phase):
        return {**state, "w1": state["w1"] + self.rate * self.change(problem, state, views["unlabelled"])}


class Cut(Healthy):
    """Its step has no graph."""

    name = "cut"

    def step(self, problem, state, views, phase):
        with torch.no_grad():
            return super().step(problem, state, views, phase)


class Idle(Healthy):
    """One of its parameters does nothing."""

    name = "idle"

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.tensor(0.1))


class Noisy(Healthy):
    """Its step draws numbers."""

    name = "noisy"

    def change(self, problem, state, x):
        return super().change(problem, state, x) + torch.randn(x.shape[-1], 1)


class Peeking(Healthy):
    """It looks at what it does not say; its name is that of its class."""

    def step(self, problem, state, views, phase):
        return {**super().step(problem, state, views, phase), "seen": views["support_x"]}


class NoisyLoop(Noisy):
    """The same, one task after the other."""

    name = "noisy_loop"
    batching = "loop"
'''

SETTINGS = ("evaluation.every=99", "outer_steps=10")


def test_a_step_that_cuts_all_gradients_is_an_error_at_once(
    tiny_config: Arguments, own_module: Callable[[str], str]
) -> None:
    module = own_module(RULES)
    with pytest.raises(ValueError, match="rule cut: no gradient reaches its parameters"):
        meta_train.main(tiny_config("run", f"rule={module}:Cut", *SETTINGS))


def test_parameters_without_a_gradient_are_noticed_but_for_those_left_out(
    tiny_config: Arguments, own_module: Callable[[str], str]
) -> None:
    module = own_module(RULES)
    with pytest.warns(Notice, match="rule idle: no gradient in 10 outer steps for unused"):
        meta_train.main(tiny_config("run", f"rule={module}:Idle", *SETTINGS))
    assert meta_train.main(tiny_config("left_out", f"rule={module}:Idle", "rule.learn=[rate]", *SETTINGS)) == 0


def test_a_view_that_is_not_declared_is_named(tiny_config: Arguments, own_module: Callable[[str], str]) -> None:
    module = own_module(RULES)
    message = r"rule peeking: its step looks at 'support_x', .* declare: consumes = \('unlabelled', 'support_x'\)"
    with pytest.raises(ValueError, match=message):
        meta_train.main(tiny_config("run", f"rule={module}:Peeking", *SETTINGS))
    with pytest.raises(ValueError, match=message):
        RuleFeatures(fresh=f"{module}:Peeking").fit(np.random.default_rng(0).normal(size=(20, 4)))


@pytest.mark.parametrize("name", ["Noisy", "NoisyLoop"])
def test_noise_in_a_step_is_refused_in_words_of_the_rule(
    name: str, tiny_config: Arguments, own_module: Callable[[str], str]
) -> None:
    module = own_module(RULES)
    message = r"its step draws random numbers; draw them in init_state and keep them in the State"
    with pytest.raises(ValueError, match=message):
        meta_train.main(tiny_config("run", f"rule={module}:{name}", *SETTINGS))
    with pytest.raises(ValueError, match=message):
        RuleFeatures(fresh=f"{module}:{name}").fit(np.random.default_rng(0).normal(size=(20, 4)))
