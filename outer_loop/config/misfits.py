"""Which parts of a config do not fit together, as the parts themselves declare it: no rule is known here by name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic_core import InitErrorDetails

from outer_loop.config.values import expected_by, problem
from tasks.views import unknown_view

if TYPE_CHECKING:
    from outer_loop.config.schema import Config


def misfits(config: "Config") -> Iterator[InitErrorDetails]:
    """What keeps the config's rule from being trained by its other settings."""
    rule, readout, estimator = (
        section.registry.find(section.name) for section in (config.rule, config.outer.readout, config.outer.estimator)
    )
    name = config.rule.name
    wrong = unknown_view(rule.consumes)
    if wrong is not None:
        yield problem(("rule", "name"), name, f"a rule of views that tasks have: {wrong}")
    if readout.reads != rule.gives:
        expected = f"a readout of {rule.gives}, which rule {name} gives, not of {readout.reads}"
        yield problem(("outer", "readout", "name"), config.outer.readout.name, expected)
    policy = config.network.normalisation
    if policy not in rule.normalisations:
        expected = f"one of {', '.join(sorted(rule.normalisations))} for rule {name}"
        yield problem(("network", "normalisation"), policy, expected)
    if policy == "running" and config.outer.average:
        expected = "0 with network.normalisation=running, whose averages are those of θ itself"
        yield problem(("outer", "average"), config.outer.average, expected)
    if policy == "unlabelled" and "unlabelled" not in rule.consumes:
        yield problem(
            ("network", "normalisation"), policy, f"batch or support: rule {name} sees no unlabelled examples"
        )
    if rule.one_network and len(config.tasks.size) != 1:
        yield problem(("tasks", "size"), config.tasks.size, f"one choice, since rule {name} fits one network")
    if rule.whole_trajectories and len({*config.inner.unroll, *config.inner.length}) > 1:
        expected = f"[K, K] as inner.length, since rule {name} learns from whole trajectories"
        yield problem(("inner", "unroll"), config.inner.unroll, expected)
    if config.inner.compile and not (rule.compiles and estimator.compiles):
        what = f"rule {name}" if estimator.compiles else f"estimator {config.outer.estimator.name}"
        yield problem(("inner", "compile"), True, f"false for {what}, whose inner steps cannot be compiled")
    yield from _network_misfits(config, rule, estimator)


def _network_misfits(config: "Config", rule: Any, estimator: Any) -> Iterator[InitErrorDetails]:
    section, name = config.network, config.rule.name
    try:
        family = section.registry.make(section.name, section.options)
    except ValueError as error:
        yield problem(("network", "options"), section.options, expected_by(error))
        return
    if family.layers not in rule.layers:
        expected = f"a network of {' or '.join(sorted(rule.layers))} layers, which rule {name} can train"
        yield problem(("network", "name"), section.name, expected)
    if rule.one_network and not family.single:
        yield problem(
            ("network", "options"), section.options, f"one choice of each, since rule {name} fits one network"
        )
    if estimator.needs_gradient and not family.differentiable:
        expected = f"activations other than step, which lets no meta-gradient through to {config.outer.estimator.name}"
        yield problem(("network", "options"), section.options, expected)
