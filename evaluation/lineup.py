"""Who takes part in a comparison: rules from files, what they are before training, parts switched off, baselines."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evaluation.baselines.settings import BaselineSettings
from evaluation.method import Embed, Method
from evaluation.methods import BASELINES, CHEAP, CLASSIFIED, CLASSIFIERS, Company, make_baselines
from evaluation.probes import OWN
from evaluation.protocol import Use, use_of
from evaluation.rules import RuleMethod, untrained_method
from evaluation.sweeps import Variation
from outer_loop.config.file import changed_settings
from update_rules.contract import Rule
from update_rules.rule_file import BEST_FILE, LAST_FILE, RuleHeader, find_rule_file, read_rule


@dataclass(frozen=True)
class Evaluated:
    """A rule from a file, under the name that results give it."""

    label: str
    path: str
    rule: Rule
    header: RuleHeader
    use: Use


def about(rules: Sequence[Evaluated], use: Use) -> dict[str, Any]:
    """What results say of ``rules`` by label and of how baselines are used; fit for JSON.

    Of a rule also what its training ``changed`` from that of the first, where the configs of both runs lie beside them.
    """
    of_rules = {}
    for one in rules:
        configs = [find_rule_file(path).parent / "config.yaml" for path in (one.path, rules[0].path)]
        of_rules[one.label] = {
            "file": one.path,
            "rule": one.header.rule,
            "config": one.header.config,
            "provenance": one.header.provenance,
            "use": {"network": one.use.network.first_options(), **_training(one.use), "own": one.use.own},
            "changed": changed_settings(*configs) if all(config.exists() for config in configs) else [],
        }
    return {"rules": of_rules, **use.network.told(), **_training(use)}


def _training(use: Use) -> dict[str, Any]:
    return {"steps": use.steps, "batch": use.batch, "normalisation": use.normalisation}


def rule_label(path: str | Path) -> str:
    """A short name of a rule: its file's, or its folder's where a run called it as all runs do."""
    path = Path(path)
    return path.parent.name if path.name in (BEST_FILE, LAST_FILE) and path.parent.name else path.stem


def read_rules(
    paths: Sequence[str], given: Mapping[str, Any], trust: Collection[str], device: torch.device
) -> list[Evaluated]:
    """The rules at ``paths``, on the ``device``, used as ``given``; a single one is called ``rule``.

    Raises as ``read_rule`` and ``use_of``, and ValueError for a normalisation that a rule does not know, and for rules
    of one name.
    """
    found = []
    for path in paths:
        rule, header = read_rule(path, trust)
        label, use = "rule" if len(paths) == 1 else rule_label(path), use_of(header, given)
        if use.normalisation not in rule.normalisations:
            expected = ", ".join(sorted(rule.normalisations))
            raise ValueError(f"{path}: got normalisation {use.normalisation} for rule {rule.name}, expected {expected}")
        found.append(Evaluated(label, path, rule.to(device), header, use))
    labels = [one.label for one in found]
    if len(set(labels)) < len(labels):
        raise ValueError(f"got rules called {', '.join(labels)}, expected different names of files or of their folders")
    return found


def agreed(name: str, given: Any, rules: Sequence[Evaluated], usual: Any) -> Any:
    """Setting ``name`` as ``given``, else as files say, else ``usual``. Raises ValueError where these differ."""
    said = {value: one.label for one in rules if (value := getattr(one.use, name)) is not None}
    if given is None and len(said) > 1:
        trained = " and ".join(f"{value} ({label})" for value, label in said.items())
        raise ValueError(f"got rules trained with {name} {trained}, expected one; say which by --{name}")
    return given if given is not None else next(iter(said), usual)


def check_swapped(views: Sequence[str], rules: Sequence[Evaluated]) -> None:
    """Raise ValueError for one of ``views`` of another task that none of ``rules`` would look at."""
    seen = {view for one in rules for view in one.rule.consumes}
    if unseen := [view for view in views if view not in seen]:
        names = ", ".join(one.label for one in rules) or "without --rule"
        raise ValueError(f"got --swapped {unseen[0]}, which nobody looks at ({names}): it would change nothing")


def split_seeds(headers: Iterable[RuleHeader]) -> list[int]:
    """The different seeds that told training data from test data where rules were trained; 0 where nothing says."""
    said = [header.provenance.get("seed", "0") for header in headers] or ["0"]
    return list(dict.fromkeys(int(seed) if seed.isdecimal() else 0 for seed in said))


def chosen_baselines(
    given: Sequence[str] | None, readouts: Sequence[str], rules: Sequence[Evaluated], encoders: Sequence[str]
) -> list[str]:
    """The names of the baselines, in the order of tables; ``given`` may be all or none, and None is the usual ones.

    Those that have a readout of their own are usual where ``readouts`` has ``own``, features where it has a probe.
    Raises ValueError where there is nothing to evaluate.
    """
    own, probed = OWN in readouts, any(readout != OWN for readout in readouts)
    classified, features = CLASSIFIED if own else (), list(BASELINES if given == ["all"] else CHEAP) if probed else []
    usual = [name for name in (*classified, *features) if rules or name != "untrained_rule"]
    names = [] if given == ["none"] else usual if given in (None, ["all"]) else list(given)
    names += [f"{name}_{probe}" for name in encoders for probe in CLASSIFIERS] if own else []
    names += encoders if probed else []
    if not rules and "untrained_rule" in names:
        raise ValueError("got untrained_rule without --rule, expected the rule whose untrained self it is")
    if not rules and not names:
        raise ValueError("got no --rule and no --baselines, expected something to evaluate")
    order = list(BASELINES)
    return sorted(dict.fromkeys(names), key=lambda name: order.index(name) if name in order else len(order))


def methods_at(
    one: Variation,
    rules: Sequence[Evaluated],
    baselines: Sequence[str],
    settings: BaselineSettings,
    encoders: Mapping[str, Embed],
    ablate: bool,
) -> dict[str, Method]:
    """Every method by name for one variation; the first rule comes first.

    A single rule is used as the variation says. Several are used as their files say, each with an untrained self of its
    own, and baselines have the network of the first. Raises ValueError for names that two methods have, and where there
    is nothing to ``ablate``.
    """
    points = one.points or (one.inner.steps,)
    alone = len(rules) == 1
    methods: dict[str, Method] = {}
    for rule in rules:
        use, steps = (one.inner, points) if alone else (rule.use, (rule.use.steps,))
        methods[rule.label] = RuleMethod(rule.rule, use, steps)
        if not alone and "untrained_rule" in baselines:
            methods[f"{rule.label}, untrained"] = untrained_method(rule.rule, use, steps)
        if ablate:
            methods |= {f"without {part}": RuleMethod(less, use, steps) for part, less in _parts(rule.rule, steps[-1])}
    rest = [name for name in baselines if name != "untrained_rule" or alone]
    if both := [name for name in rest if name in methods]:
        raise ValueError(f"got a rule and an encoder called {', '.join(both)}, expected different names")
    first = rules[0].rule if rules else None
    return methods | make_baselines(rest, Company(one.inner, settings, first, points), encoders)


def _parts(rule: Rule, steps: int) -> list[tuple[str, Rule]]:
    if steps < 1:
        raise ValueError("got 0 inner steps, expected 1 or more: before the first all parts are alike")
    parts = list(rule.parts())
    if not parts:
        raise ValueError(f"rule {rule.name} names no parts to switch off")
    return parts


def check_readouts(methods: Mapping[str, Method], readouts: Sequence[str]) -> None:
    """Raise ValueError for a method that none of ``readouts`` can read."""
    unread = [name for name, method in methods.items() if not any(map(method.classifier, readouts))]
    if unread:
        raise ValueError(
            f"got --readout {' '.join(readouts)}, which cannot read {', '.join(unread)}; expected probes for features "
            f"and {OWN} for what tells classes itself, such as a rule or raw_{CLASSIFIERS[0]}"
        )
