"""What ``evaluate`` does with whole sets: every clusterer on the same ones, by the adjusted Rand index."""

import argparse
from collections.abc import Sequence
from typing import Any

import torch

from common.names import did_you_mean
from evaluation import lineup
from evaluation.clusterings import Method, candidate_method, judge, rule_method
from evaluation.lineup import Evaluated
from evaluation.results import environment, summarise, write_results
from evaluation.results_table import results_table
from experiment.report.plots import accuracy_points, save_png
from experiment.report.publish import publish
from tasks.data.reference_sets import SUITE, ReferenceSet, is_suite, read_suite, reference_of
from tasks.data.sources import MADE, load_source
from unsupervised_update_rules.commands.terminal import print_table, progress
from unsupervised_update_rules.commands.tracked import tracked
from update_rules.clustering.candidates import installed

USUAL = ("kmeans", "gaussian_mixture", "ward")
"""Clusterers that rules are compared with where nobody says."""

UNTRAINED = "untrained_rule"
"""The baseline that a rule is before its training."""


def of_sets(sources: Sequence[str], rules: Sequence[Evaluated]) -> bool:
    """Whether ``sources`` are whole sets or ``rules`` cluster. Raises ValueError where one of either is not like it."""
    named = [source for source in sources if source.partition(":")[0] in (SUITE, *MADE)]
    clusterers = [one for one in rules if one.rule.gives == "outputs"]
    if not named and not clusterers:
        return False
    if len(clusterers) < len(rules):
        other = next(one for one in rules if one not in clusterers)
        raise ValueError(f"{other.path}: rule {other.rule.name} does not cluster, expected rules that do")
    return True


def evaluate_sets(arguments: argparse.Namespace, rules: Sequence[Evaluated], command: str) -> int:
    """Judge ``rules`` and baselines on the sets of ``arguments.data``, print the table, write what was asked for.

    Raises ValueError for options that are for few-shot tasks alone.
    """
    for name in ("sweep", "ablate", "encoder"):
        if getattr(arguments, name):
            raise ValueError(f"got --{name} with whole sets, expected it with few-shot tasks alone")
    methods = _methods(rules, arguments.baselines)
    sets = [one for source in arguments.data for one in _sets(source, arguments, rules)]
    meta: dict[str, Any] = {
        "rules": lineup.about(rules, rules[0].use)["rules"] if rules else {},
        **{name: getattr(arguments, name) for name in ("seeds", "untold", "tasks")},
        "sets": {part: [one.name for one in sets if one.part == part] for part in dict.fromkeys(s.part for s in sets)},
        "command": command,
        **environment(),
    }
    found = []
    with progress("sets done by a method", len(methods) * len(sets) * len(arguments.seeds)) as advance:
        for seed in arguments.seeds:
            found += judge(methods, sets, seed=seed, told=not arguments.untold, progress=advance)
    results = summarise(found, meta, leads=bool(rules))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        save_png(accuracy_points(results), arguments.plot)
    with tracked(arguments, "evaluate", meta) as tracker:
        publish(tracker, 0, results)
    print_table(results_table(results), width=100 + 30 * len(meta["sets"]))
    return 0


def _methods(rules: Sequence[Evaluated], given: Sequence[str] | None) -> dict[str, Method]:
    """By name the rules, and the baselines ``given``, the usual ones where nothing is. Raises ValueError for others."""
    there = installed()
    known = [*([UNTRAINED] if len(rules) == 1 else []), *there]
    names = [*USUAL] if given is None else known if list(given) == ["all"] else [] if list(given) == ["none"] else given
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown clusterer {name!r}, expected {', '.join(known)}, all or none{did_you_mean(name, known)}"
            )
    methods = {one.label: rule_method(one.rule, one.use.steps) for one in rules}
    if UNTRAINED in names:
        (one,) = rules
        methods[UNTRAINED] = rule_method(type(one.rule)(**one.rule.config), one.use.steps)
    methods |= {name: candidate_method(there[name]) for name in names if name in there}
    if not methods:
        raise ValueError("got no --rule and no --baselines, expected something to evaluate")
    return methods


def _sets(source: str, arguments: argparse.Namespace, rules: Sequence[Evaluated]) -> list[ReferenceSet]:
    """The sets of ``source``, in random order and so many where not all are wanted."""
    if is_suite(source):
        sets = read_suite(source)
    else:
        (seed, *_) = lineup.split_seeds(one.header for one in rules)
        how = {"label": arguments.label, "standardise": arguments.standardise}
        sets = [reference_of(dataset, source) for dataset in load_source(source, seed=seed, **how)]
    if arguments.tasks is None or arguments.tasks >= len(sets):
        return sets
    order = torch.randperm(len(sets), generator=torch.Generator().manual_seed(0))[: arguments.tasks].tolist()
    return [sets[place] for place in sorted(order)]
