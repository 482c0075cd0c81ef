"""Results files put together: accuracies of many evaluations, paired by the identity of their tasks."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.methods import MEANING
from evaluation.statistics import Mean, mean_over_seeds, paired_over_seeds
from experiment.pages.training_curve import CURVE

ROUNDING = 0.005
"""Two files may hold means of one method on the same tasks that differ by so much, as other processors round."""


WITHOUT_NETWORK = ("raw", "pca", "pca_whitened", "kmeans", "landmarks", "discriminants")
"""Methods that no base network takes part in."""


class Place(NamedTuple):
    """Where accuracies of several methods compare: all that is the same for them but the seeds."""

    source: str
    ways: int
    shots: int
    queries: int
    size: int | None
    permute: bool
    redraw: str
    """How images change whenever they are drawn, or ``identity``."""
    outputs: int
    readout: str
    sweep: str
    """The name of what is varied, or an empty string."""
    value: Any
    """What it is here; None outside sweeps and for methods that it leaves as they are."""


class Lead(NamedTuple):
    """How far ``method`` is ahead of ``other`` on the same tasks."""

    method: str
    other: str
    place: Place
    mean: Mean
    tasks: int


@dataclass
class StoredResults:
    """What a folder of results files says."""

    meta: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By file name."""
    rules: list[str] = field(default_factory=list)
    """Names of the evaluated rules."""
    starts: list[str] = field(default_factory=list)
    """Names of those whose file tells of no meta-training: they are compared with, as the baselines are."""
    ablations: list[dict[str, Any]] = field(default_factory=list)
    """Runs with ``name``, ``overrides``, ``command``, what they were ``made`` with, ``accuracy`` and ``change``."""
    trainings: list[dict[str, Any]] = field(default_factory=list)
    """What ``training_curve`` found of runs."""
    found: dict[tuple[str, Place], dict[int, list[float]]] = field(default_factory=dict)
    """Accuracies of each task by method, place and seed."""
    files: dict[tuple[str, Place], set[str]] = field(default_factory=dict)
    """The names of the files that these came from."""
    _drawn: dict[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)
    _used: dict[tuple[str, Place], dict[str, tuple[Any, str]]] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Rules first, then their untrained selves and starts, then the others in the order of MEANING."""
        names = [*self.rules, *(untrained_name(rule) for rule in self.rules), *self.starts, *MEANING]
        there = {method for method, _ in self.found}
        return [name for name in names if name in there]

    def places(self, sweep: str = "") -> list[Place]:
        """The places of one sweep, numbers rising for each source of tasks, or those outside sweeps."""
        found = list(dict.fromkeys(place for _, place in self.found if place.sweep == sweep))
        sources = list(dict.fromkeys(place.source for place in found))

        def order(place: Place) -> tuple[int, float]:
            number = isinstance(place.value, int | float) and not isinstance(place.value, bool)
            return sources.index(place.source), place.value if number else 0

        return sorted(found, key=order)

    def accuracies(self, method: str, place: Place) -> dict[int, list[float]]:
        """By seed; of the one place a method has in a sweep that leaves it as it is. Empty where nothing is stored."""
        alone = place._replace(value=None)
        return self.found.get((method, place)) or self.found.get((method, alone)) or {}

    def mean(self, method: str, place: Place) -> Mean | None:
        """Over all tasks of all seeds, or None where nothing is stored."""
        by_seed = self.accuracies(method, place)
        return mean_over_seeds(by_seed) if by_seed else None

    def lead(self, method: str, other: str, place: Place, beside: "StoredResults | None" = None) -> Lead | None:
        """``method`` less ``other``, of ``beside`` if given, on the seeds that both have; None where there are none.

        Raises ValueError, naming a file, where the tasks of ``beside`` differ.
        """
        others = beside or self
        mine, theirs = self.accuracies(method, place), others.accuracies(other, place)
        for seed in mine.keys() & theirs.keys():
            if len(mine[seed]) == len(theirs[seed]):
                tasks = _tasks(place, seed, len(theirs[seed]))
                drawn, file = others._drawn[tasks]
                self._check_drawn(file, tasks, drawn)
        found = paired_over_seeds(mine, theirs)
        return Lead(method, other, place, *found) if found else None

    def leads(self) -> list[Lead]:
        """Every rule against every other method wherever both are stored."""
        return [
            lead
            for rule, place in self.found
            if rule in self.rules
            for other in self.methods
            if other not in self.rules
            for lead in [self.lead(rule, other, place)]
            if lead is not None
        ]

    def add(self, name: str, content: dict[str, Any]) -> None:
        """The results of the file ``name``. Raises ValueError, naming the files, where they contradict others.

        What a method was set to must be the same in all files of one place, so that seeds of one method are pooled.
        """
        meta = content["meta"]
        self.meta[name] = meta
        rule = rule_name(meta)
        kind = self.starts if meta.get("rule_provenance") == {} else self.rules
        if rule and rule not in kind:
            kind.append(rule)
        for one in content["per_task"]:
            method = {"rule": rule, "untrained_rule": untrained_name(rule)}.get(one["method"], one["method"])
            place = Place(
                one["source"],
                one["ways"],
                one["shots"],
                one["queries"],
                one["size"],
                one["permute"],
                meta.get("redraw", "identity"),
                meta["outputs"],
                one["readout"],
                meta.get("sweep") or "",
                next(iter(one["setting"].values()), None),
            )
            self._check_drawn(name, _tasks(place, one["seed"], len(one["accuracies"])), one["drawn"])
            self._check_used(name, method, place, _settings_of(one["method"], meta))
            by_seed = self.found.setdefault((method, place), {})
            files = self.files.setdefault((method, place), set())
            before = by_seed.setdefault(one["seed"], one["accuracies"])
            if not _alike(before, one["accuracies"]):
                raise ValueError(
                    f"{name} and {', '.join(sorted(files))}: other accuracies of {method} on {one['source']}, "
                    f"seed {one['seed']}; keep the file that counts"
                )
            files.add(name)

    def _check_drawn(self, name: str, tasks: tuple[Any, ...], drawn: str) -> None:
        before, file = self._drawn.setdefault(tasks, (drawn, name))
        if before != drawn:
            source, ways, shots, *_, seed, _ = tasks
            raise ValueError(
                f"{name} and {file}: other tasks of {source}, {ways} ways, {shots} shots, seed {seed}, so they cannot "
                "be paired; evaluate both on the same data with the same code"
            )

    def _check_used(self, name: str, method: str, place: Place, used: dict[str, Any]) -> None:
        known = self._used.setdefault((method, place), {})
        for key, value in used.items():
            before, file = known.setdefault(key, (value, name))
            if before != value:
                raise ValueError(
                    f"{name} and {file}: {method} on {place.source} with {key} {value} and {before}, so their seeds "
                    "are not of one method; keep the files that count"
                )


def _tasks(place: Place, seed: int, count: int) -> tuple[Any, ...]:
    """What must have drawn the same tasks: the fields of ``place`` up to ``redraw``, seed and number of tasks.

    What was drawn is told of all tasks together, so that a sweep of fewer tasks is judged by itself.
    """
    return (*place[: Place._fields.index("redraw") + 1], seed, count)


def _settings_of(method: str, meta: dict[str, Any]) -> dict[str, Any]:
    """What a results file with ``meta`` says of how ``method`` was set; older files say less."""
    network = {key: meta[key] for key in ("hidden", "activation") if key in meta}
    if method in ("rule", "untrained_rule"):
        return network | {key: meta[key] for key in ("steps", "batch", "rule_provenance") if key in meta}
    own: dict[str, Any] = meta.get("baseline_settings", {}).get(method, {})
    return network | own if method not in WITHOUT_NETWORK else own


def read_stored(paths: Iterable[Path]) -> StoredResults:
    """The results, ablations and training curves in the JSON files at ``paths``.

    An ablation file holds ``ablations``, a list of objects with ``name``, ``overrides``, ``command`` and ``accuracy``,
    an object with a share by source, and maybe ``change``, an object with a difference and its 95 % interval by source,
    and ``made``, an object with commit, processor, tasks and seed. scripts/training_curve.py writes the curves.
    Raises OSError, and ValueError for files of another kind or that contradict each other.
    """
    stored = StoredResults()
    for path in paths:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if "ablations" in content:
                wanted = ("name", "overrides", "command", "accuracy")
                stored.ablations += [
                    {key: one[key] for key in wanted} | {key: one.get(key, {}) for key in ("change", "made")}
                    for one in content["ablations"]
                ]
            elif "training" in content:
                stored.trainings.append({key: content["training"][key] for key in CURVE})
            else:
                stored.add(path.name, content)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: neither results of scripts/evaluate.py nor ablations nor a training curve "
                f"({type(error).__name__}: {error})"
            ) from None
    return stored


def _alike(first: list[float], second: list[float]) -> bool:
    return len(first) == len(second) and abs(sum(first) - sum(second)) <= ROUNDING * len(first)


def rule_name(meta: dict[str, Any]) -> str:
    """The label of the rule that was evaluated, or an empty string."""
    return rule_label(meta["rule_file"]) if "rule_file" in meta else ""


def rule_label(path: str | Path) -> str:
    """A short name of a rule: its file's, or its folder's where that is plain ``rule``."""
    path = Path(path)
    return path.parent.name if path.stem == "rule" and path.parent.name else path.stem


def untrained_name(rule: str) -> str:
    """The name of the rule called ``rule`` before its training."""
    return f"{rule}, untrained"
