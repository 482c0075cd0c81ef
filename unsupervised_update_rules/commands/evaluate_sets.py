"""What ``evaluate`` does with whole sets: every clusterer on the same ones, by the measure that is asked for."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from common.names import did_you_mean
from evaluation import lineup
from evaluation.clusterings import Score, candidate_method, judge, rule_method, score
from evaluation.lineup import Evaluated
from evaluation.results import environment, summarise, write_results
from evaluation.results_table import results_table
from evaluation.set_measures import apart, order_agreement, pairs_right, partition_pairs, rule_pairs
from evaluation.statistics import ORDER, PAIRS
from experiment.report.plots import accuracy_points, save_png
from experiment.report.publish import publish
from tasks.data.reference_sets import SUITE, ReferenceSet, is_suite, read_suite, reference_of
from tasks.data.sources import MADE, load_source
from unsupervised_update_rules.commands.arguments import Parser
from unsupervised_update_rules.commands.terminal import print_table, progress
from unsupervised_update_rules.commands.tracked import tracked
from update_rules.clustering.candidates import installed
from update_rules.contract import OF_SETS

USUAL = ("kmeans", "gaussian_mixture", "ward")
"""Clusterers that rules are compared with where nobody says, and where they are told how many clusters there are."""

APART = "apart"
"""The baseline that says of no two points that they belong together."""

OPTIONS = frozenset(
    {
        *("rule", "trust", "data", "label", "standardise", "baselines", "tasks", "untold", "measure", "seeds"),
        *("device", "track", "threads", "json", "plot"),
    }
)
"""What may be said of whole sets; other options are for few-shot tasks."""

UNTRAINED = "untrained_rule"
"""The baseline that a rule is before its training."""


def of_sets(sources: Sequence[str], rules: Sequence[Evaluated]) -> bool:
    """Whether ``sources`` are whole sets or ``rules`` cluster. Raises ValueError where one of either is not like it."""
    named = [source for source in sources if source.partition(":")[0] in (SUITE, *MADE)]
    clusterers = [one for one in rules if one.rule.gives in OF_SETS]
    if not named and not clusterers:
        return False
    if len(clusterers) < len(rules):
        other = next(one for one in rules if one not in clusterers)
        raise ValueError(f"{other.path}: rule {other.rule.name} does not cluster, expected rules that do")
    return True


def evaluate_sets(arguments: argparse.Namespace, parser: Parser, rules: Sequence[Evaluated], command: str) -> int:
    """Judge ``rules`` and baselines on the sets of ``arguments.data``, print the table, write what was asked for.

    Raises ValueError for options of ``parser`` that are for few-shot tasks alone.
    """
    for name, value in vars(arguments).items():
        if name not in OPTIONS and value != parser.get_default(name):
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"got {option} with whole sets, expected it with few-shot tasks alone")
    scores = _scores(rules, arguments)
    sets = [one for source in arguments.data for one in _sets(source, arguments, rules)]
    meta: dict[str, Any] = {
        "rules": lineup.about(rules, rules[0].use)["rules"] if rules else {},
        **{name: getattr(arguments, name) for name in ("seeds", "untold", "tasks", "measure")},
        "sets": {part: [one.name for one in sets if one.part == part] for part in dict.fromkeys(s.part for s in sets)},
        "command": command,
        **environment(),
    }
    found = []
    with progress("sets done by a method", len(scores) * len(sets) * len(arguments.seeds)) as advance:
        for seed in arguments.seeds:
            how = {"told": not arguments.untold, "readout": arguments.measure}
            found += judge(scores, sets, seed=seed, progress=advance, **how)
    results = summarise(found, meta, leads=bool(rules))
    if arguments.json is not None:
        write_results(arguments.json, results)
    if arguments.plot is not None:
        save_png(accuracy_points(results), arguments.plot)
    with tracked(arguments, "evaluate", meta) as tracker:
        publish(tracker, 0, results)
    print_table(results_table(results), width=100 + 30 * len(meta["sets"]))
    return 0


def _scores(rules: Sequence[Evaluated], arguments: argparse.Namespace) -> dict[str, Score]:
    """By method what it makes of a set by the measure of ``arguments``, of the rules and then of the baselines.

    Raises ValueError for baselines that are unknown, or that cannot do without the number of clusters.
    """
    by_hand, of_pairs = [] if arguments.untold else [*installed()], arguments.measure == PAIRS
    known = [*([UNTRAINED] if len(rules) == 1 else []), *([APART] if of_pairs else []), *by_hand]
    given = [name for name in USUAL if name in by_hand] if arguments.baselines is None else arguments.baselines
    names = {"all": known, "none": []}.get(given[0], given) if len(given) == 1 else given
    for name in names:
        if arguments.untold and name in installed():
            raise ValueError(
                f"got --baselines {name} with --untold, expected {', '.join([*known, 'none'])}: it has to be told how "
                "many clusters there are"
            )
        if name not in known:
            raise ValueError(
                f"unknown clusterer {name!r}, expected {', '.join(known)}, all or none{did_you_mean(name, known)}"
            )
    used = {one.label: (one.rule, one.use.steps) for one in rules}
    if UNTRAINED in names:
        (one,) = rules
        used[UNTRAINED] = (type(one.rule)(**one.rule.config), one.use.steps)
    methods = {name: rule_method(*one) for name, one in used.items()}
    methods |= {name: candidate_method(name) for name in names if name in by_hand}
    if not methods and APART not in names:
        raise ValueError("got no --rule and no --baselines, expected something to evaluate")
    if not of_pairs:
        score_of = order_agreement if arguments.measure == ORDER else score
        return {name: partial(score_of, method) for name, method in methods.items()}
    pairs = {name: partition_pairs(method) for name, method in methods.items()}
    pairs |= {name: rule_pairs(*one) for name, one in used.items() if one[0].gives == "pairs"}
    pairs |= {APART: apart} if APART in names else {}
    return {name: partial(pairs_right, method) for name, method in pairs.items()}


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
