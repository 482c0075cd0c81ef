"""Which parts of a config do not fit together, as the parts themselves declare it: no rule is known here by name."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from outer_loop.config.values import Component, expected_by
from tasks.views import unknown_view
from update_rules.contract import OF_SETS

if TYPE_CHECKING:
    from outer_loop.config.schema import Config


def misfits(config: "Config") -> Iterator[tuple[str, str]]:
    """Dotted key and what was expected there, for what keeps the config's rule from being trained."""
    parts: tuple[Component, ...] = (config.rule, config.outer.readout, config.outer.estimator)
    rule, readout, estimator = (part.registry.find(part.name) for part in parts)
    name = config.rule.name
    wrong = unknown_view(rule.consumes)
    if wrong is not None:
        yield "rule.name", f"a rule of views that tasks have: {wrong}"
    if "unlabelled_set" in rule.consumes and not config.tasks.unlabelled_shots:
        yield "tasks.unlabelled_shots", f"1 or more, since rule {name} looks at a set of examples without labels"
    if config.tasks.distractors and not config.tasks.unlabelled_shots:
        yield "tasks.distractors", "0 without tasks.unlabelled_shots: distractors are in the set without labels"
    if unseen := [view for view in config.tasks.swapped if view not in rule.consumes]:
        yield "tasks.swapped", f"views that rule {name} sees, {', '.join(rule.consumes)}, not {', '.join(unseen)}"
    clusters = rule.gives in OF_SETS
    if clusters and config.tasks.points is None:
        yield "tasks.points", f"a number or [fewest, most] for rule {name}, which clusters whole sets"
    if not clusters and config.tasks.points is not None:
        yield "tasks.points", f"null for rule {name}, which does not cluster whole sets"
    if not clusters and config.tasks.untold:
        yield "tasks.untold", f"0 for rule {name}, which does not cluster whole sets"
    if clusters and config.evaluation.ways is not None:
        yield "evaluation.ways", f"null for rule {name}, which clusters whole sets, with all of their classes"
    if clusters and config.report.sources:
        yield "report.sources", f"[] for rule {name}, which clusters: judge it by scripts/evaluate.py"
    if readout.reads != rule.gives:
        yield "outer.readout.name", f"a readout of {rule.gives}, which rule {name} gives, not of {readout.reads}"
    if estimator.reads not in (None, rule.gives):
        expected = f"an estimator of {rule.gives}, which rule {name} gives, not of {estimator.reads}"
        yield "outer.estimator.name", expected
    if estimator.needs_gradient and not readout.differentiable:
        yield "outer.estimator.name", f"one without a meta-gradient: {config.outer.readout.name} lets none through"
    policy = config.network.normalisation
    if policy not in rule.normalisations:
        yield "network.normalisation", f"one of {', '.join(sorted(rule.normalisations))} for rule {name}"
    if policy == "running" and config.outer.average:
        yield "outer.average", "0 with network.normalisation=running, whose averages are those of θ itself"
    if policy == "unlabelled" and "unlabelled" not in rule.consumes:
        yield "network.normalisation", f"batch or support: rule {name} sees no unlabelled examples"
    if rule.one_network and len(config.tasks.size) != 1:
        yield "tasks.size", f"one choice, since rule {name} fits one network"
    whole = rule.whole_trajectories or estimator.whole_trajectories
    if whole and len({*config.inner.unroll, *config.inner.length}) > 1:
        what = f"rule {name}" if rule.whole_trajectories else f"estimator {config.outer.estimator.name}"
        yield "inner.unroll", f"[K, K] as inner.length, since {what} learns from whole trajectories"
    if config.inner.compile and not (rule.compiles and estimator.compiles):
        what = f"rule {name}" if estimator.compiles else f"estimator {config.outer.estimator.name}"
        yield "inner.compile", f"false for {what}, whose inner steps cannot be compiled"
    yield from _network_misfits(config, rule, estimator)


def _network_misfits(config: "Config", rule: Any, estimator: Any) -> Iterator[tuple[str, str]]:
    section, name = config.network, config.rule.name
    try:
        family = section.registry.make(section.name, section.options)
    except ValueError as error:
        yield "network.options", expected_by(error)
        return
    if family.layers not in rule.layers:
        yield "network.name", f"a network of {' or '.join(sorted(rule.layers))} layers, which rule {name} can train"
    if rule.one_network and not family.single:
        yield "network.options", f"one choice of each, since rule {name} fits one network"
    if estimator.needs_gradient and not family.differentiable:
        expected = f"activations other than step, which lets no meta-gradient through to {config.outer.estimator.name}"
        yield "network.options", expected
