"""Which settings of a config do not fit its rule."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydantic_core import InitErrorDetails

from outer_loop.config.values import problem
from update_rules.contract import SUPPORT, UNLABELLED
from update_rules.registry import RULES

if TYPE_CHECKING:
    from outer_loop.config.schema import Config


def rule_problems(config: "Config") -> Iterator[InitErrorDetails]:
    """What keeps the config's rule from being trained by its other settings."""
    rule = RULES.find(config.rule.name)
    if config.network.kind not in rule.networks:
        expected = f"{' or '.join(rule.networks)}, which rule {rule.name} can train"
        yield problem(("network", "kind"), config.network.kind, expected)
    yield from _batch_norm_problems(config)
    if UNLABELLED not in rule.consumes:
        yield from _learned_start_problems(config)
    elif config.outer.objective == "head":
        expected = f"ridge or prototypes: a network of rule {rule.name} has features and no classes"
        yield problem(("outer", "objective"), config.outer.objective, expected)


def _batch_norm_problems(config: "Config") -> Iterator[InitErrorDetails]:
    """Only an encoder that no task changes has statistics that can be averaged over tasks."""
    rule, policy = config.rule, config.network.batch_norm
    if policy == "running" and "running" not in RULES.options(rule.name):
        expected = f"batch or support: every task trains a network of rule {rule.name} to statistics of its own"
        yield problem(("network", "batch_norm"), policy, expected)
    if "running" in rule.options:
        expected = "no such option: network.batch_norm decides it"
        yield problem(("rule", "options", "running"), rule.options["running"], expected)
    if policy == "running" and config.outer.average:
        expected = "0 with network.batch_norm=running, whose averages are those of θ itself"
        yield problem(("outer", "average"), config.outer.average, expected)


def _learned_start_problems(config: "Config") -> Iterator[InitErrorDetails]:
    """What keeps a rule whose θ is the start of one network from being trained."""
    name = config.rule.name
    labelled = any(view in SUPPORT for view in RULES.find(name).consumes)
    for section, key in (("network", "hidden"), ("network", "activations"), ("tasks", "size")):
        value = getattr(getattr(config, section), key)
        if len(value) != 1 and not (config.network.kind == "conv4" and section == "network"):
            yield problem((section, key), value, f"one choice, since rule {name} learns the start of one network")
    if labelled != (config.outer.objective == "head"):
        expected = "head" if labelled else "ridge or prototypes"
        yield problem(("outer", "objective"), config.outer.objective, f"{expected} for rule {name}")
    if len({*config.inner.unroll, *config.inner.length}) > 1:
        expected = f"[K, K] as inner.length, since rule {name} learns from whole trajectories"
        yield problem(("inner", "unroll"), config.inner.unroll, expected)
    if config.inner.compile:
        yield problem(("inner", "compile"), True, f"false for rule {name}, whose gradients are differentiated again")
