"""The store of measured results: what the JSON files of evaluations say, paired by the identity of their tasks."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from evaluation.probes import READOUT
from evaluation.results_table import short_source
from evaluation.statistics import (
    OF_SETS,
    Mean,
    joined_seeds,
    mean_for,
    mean_over_tasks,
    over_trainings,
    paired_difference,
    share_of_lead,
    wider,
)
from experiment.report.method_names import method_name, rules_of, seed_of_training, settings_of_method
from experiment.report.places import Answer, Found, Place
from experiment.report.stated import COSTS, OVER, stated

ROUNDING = 0.005
"""Two files may hold means of one method on the same tasks that differ by so much, as other processors round."""


@dataclass
class Store:
    """What some results files say together."""

    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The command and the commit behind each file."""
    found: dict[tuple[str, Place], dict[int, Found]] = field(default_factory=dict)
    """By method and place, and then by seed."""
    _drawn: dict[tuple[Any, ...], tuple[str, str]] = field(default_factory=dict)
    _used: dict[tuple[str, Place, str], tuple[Any, str]] = field(default_factory=dict)

    def ask(self, of: Mapping[str, Any]) -> Answer | None:
        """What is stored of a question, over all its seeds; None where nothing is.

        ``of`` says ``method``, or a list of trainings of one, maybe ``minus`` (its lead over that one, task by task; of
        lists the lead of each training over its counterpart), maybe ``share_of`` as well (how much of the lead of that
        one over ``minus`` it keeps), and where: ``source``, in short, one or a list, ``setting`` of a sweep, ``seed``
        and fields of a Place. Raises ValueError where several places are meant, and for lists of unlike lengths.
        """
        if "method" not in of:
            raise ValueError(f"got {dict(of)}, expected a method")
        if several := {key: of[key] for key in ("method", "minus") if isinstance(of.get(key), list)}:
            if len({len(names) for names in several.values()}) > 1:
                raise ValueError(f"got {several}, expected lists of one length, a training and its counterpart")
            trainings = [dict(zip(several, names, strict=True)) for names in zip(*several.values(), strict=True)]
            found = [self._shared({**of, **one}) for one in trainings]
            answers = [answer for parts, keys in found if (answer := _answer(parts, keys))]
            if len(answers) < len(found) or len({frozenset(keys) for _, keys in found}) > 1:
                return None
            files = list(dict.fromkeys(file for answer in answers for file in answer.files))
            return Answer(over_trainings([answer.mean for answer in answers]), answers[0].tasks, files)
        return _answer(*self._shared(of))

    def _shared(self, of: Mapping[str, Any]) -> tuple[list[dict[Any, Found]], list[Any]]:
        """What is stored of each method that ``of`` names, by place and seed, and where all of them are.

        These are none unless there is some of every source that ``of`` asks for.
        """
        about = ("method", "minus", "share_of") if "minus" in of else ("method",)
        where = {key: value for key, value in of.items() if key not in about}
        parts = [self._find(of[key], where) for key in about if key in of]
        keys = [
            key for key in parts[0] if all(key in part and part[key].tasks == parts[0][key].tasks for part in parts)
        ]
        wanted = where.get("source", [])
        return parts, keys if {place.source for place, _ in keys}.issuperset(_listed(wanted)) else []

    def _find(self, method: str, where: Mapping[str, Any]) -> dict[Any, Found]:
        """By place and seed what is stored of ``method``; empty unless there is some of every source in ``where``."""
        sweep, value = next(iter(where.get("setting", {}).items()), ("", None))
        sources = _listed(where.get("source", []))
        fields = {key: value for key, value in where.items() if key not in ("source", "setting", "seed")}
        if unknown := fields.keys() - set(Place._fields):
            raise ValueError(f"got {', '.join(sorted(unknown))} in {dict(where)}, expected fields of a place")
        there = [
            place
            for name, place in self.found
            if name == method and place.sweep == sweep and (not sources or place.source in sources)
            if all(getattr(place, key) in (expected, None) for key, expected in fields.items())
        ]
        places = [one for one in there if one.value == value] or [one for one in there if one.value is None]
        if len(places) > max(1, len(sources)):
            columns = zip(Place._fields, zip(*places, strict=True), strict=True)
            several = ", ".join(name for name, values in columns if len({*values}) > 1)
            raise ValueError(f"{method} was measured for several of {several}; say which beside {dict(where)}")
        if len({place.source for place in places}) < len(sources):
            return {}
        return {
            (place._replace(value=None), seed): one
            for place in places
            for seed, one in self.found[method, place].items()
            if where.get("seed", seed) == seed
        }

    def add(self, name: str, content: Mapping[str, Any], label: str = "") -> None:
        """What the file ``name`` holds, its rule called ``label``; of whole sets each is a source too, SOURCE/SET.

        Raises ValueError where it contradicts another.
        """
        about = content["meta"]
        self.made[name] = (about["command"], about["commit"])
        for one in content.get("per_task", []):
            self._add_tasks(name, about, one, label)
        for method, place, seed, tasks, mean in stated(content):
            self._keep(method, place, seed, Found(name, tasks, mean))

    def _add_tasks(self, name: str, meta: Mapping[str, Any], one: Mapping[str, Any], label: str) -> None:
        method, seed, count = method_name(one["method"], meta, label), one["seed"], len(one["accuracies"])
        if not all(map(math.isfinite, one["accuracies"])):
            raise ValueError(f"{name}: accuracies of {method} are not all finite; evaluate it anew")
        place = Place(
            short_source(one["source"]),
            **{key: one[key] for key in ("ways", "shots", "queries", "size", "permute", "readout")},
            redraw=meta.get("redraw", "identity"),
            inductive=bool(meta.get("inductive")),
            sweep=meta.get("sweep") or "",
            value=next(iter(one["setting"].values()), None),
        )
        # What was drawn is told of all tasks together, so that a sweep of fewer tasks is judged by itself.
        tasks = (*place[: Place._fields.index("readout")], seed, count)
        drawn, file = self._drawn.setdefault(tasks, (one["drawn"], name))
        if drawn != one["drawn"]:
            raise ValueError(
                f"{name} and {file}: other tasks of {place.source}, {place.ways} ways, {place.shots} shots, seed "
                f"{seed}, so they cannot be paired; evaluate both on the same data with the same code"
            )
        settings = [(method, *setting) for setting in settings_of_method(one["method"], meta, seed)]
        if (place.readout, place.shots) == (READOUT, 1):
            settings.append(("all methods", "one_label_penalty", meta.get("one_label_penalty")))
        for who, key, value in settings:
            before, file = self._used.setdefault((who, place, key), (value, name))
            if before != value:
                raise ValueError(
                    f"{name} and {file}: {who} on {place.source} with {key} {str(value)[:60]} and "
                    f"{str(before)[:60]}, so their tasks are not of one method; keep the files that count"
                )
        judged = rules_of(meta).get({"untrained_rule": "rule"}.get(one["method"], one["method"]))
        rule = judged["file"] if judged and seed_of_training(judged, meta) else ""
        self._keep(method, place, seed, Found(name, count, one["accuracies"], rule))
        for part, value in zip(meta.get("sets", {}).get(one["source"], []), one["accuracies"], strict=False):
            alone = place._replace(source=f"{place.source}/{part}")
            self._keep(method, alone, seed, Found(name, 0, Mean(value, math.nan)))

    def _keep(self, method: str, place: Place, seed: int, found: Found) -> None:
        before = self.found.setdefault((method, place), {}).setdefault(seed, found)
        one, other = (v.value if isinstance(v, Mean) else sum(v) / len(v) for v in (before.values, found.values))
        if before.tasks != found.tasks or abs(one - other) > ROUNDING:
            raise ValueError(
                f"{found.file} and {before.file}: other accuracies of {method} on {place.source}, seed {seed}; keep "
                "the file that counts"
            )


def _answer(parts: Sequence[Mapping[Any, Found]], keys: Sequence[Any]) -> Answer | None:
    """What the ``parts`` of one, two or three methods say together at ``keys``, places and seeds; None for nothing."""
    means = [one for part in parts for key in keys if isinstance(one := part[key].values, Mean)]
    if not keys or (means and len(parts) > 1):  # the difference of two means is not that of their tasks
        return None
    if means:
        mean = means[0] if len(means) == 1 else Mean(sum(one.value for one in means) / len(means), math.nan)
    else:
        readouts = {place.readout for place, _ in keys}
        readout = readouts.pop() or "" if len(readouts) == 1 else ""
        mean, *by_training = (
            _computed(readout, [_joined(part, some, readout) for part in parts])
            for some in (keys, *_by_training(parts, keys, readout))
        )
        if len(by_training) > 1:
            mean = wider(mean, mean_over_tasks([one.value for one in by_training]))
    files = list(dict.fromkeys(part[key].file for part in parts for key in keys))
    counts = {place: [parts[0][key].tasks for key in keys if key[0] == place] for place, _ in keys}
    once = all(place.readout in OF_SETS for place in counts)  # seeds are of training: the sets are the same
    return Answer(mean, sum(max(found) if once else sum(found) for found in counts.values()), files)


def _listed(wanted: str | Sequence[str]) -> Sequence[str]:
    return [wanted] if isinstance(wanted, str) else wanted


def _computed(readout: str, columns: Sequence[list[float]]) -> Mean:
    """The mean of one method's values, the lead of the first over the second, or what of a third's lead it keeps."""
    if len(columns) == 1:
        return mean_for(readout, columns[0])
    if len(columns) == 2:
        return paired_difference(columns[0], columns[1], readout)
    return share_of_lead(*columns)


def _by_training(parts: Sequence[Mapping[Any, Found]], keys: Sequence[Any], readout: str) -> list[list[Any]]:
    """``keys`` by seed where each seed is of another training, as well as of other tasks; else nothing."""
    rules = [{seed: part[place, seed].rule for place, seed in keys} for part in parts]
    if readout in OF_SETS or all(len({*of_seeds.values()}) == 1 for of_seeds in rules):
        return []
    return [[key for key in keys if key[1] == seed] for seed in rules[0]]


def _joined(part: Mapping[Any, Found], keys: Sequence[Any], readout: str) -> list[float]:
    """The values of ``part`` at ``keys``, place by place, where those of several seeds are joined."""
    places = dict.fromkeys(place for place, _ in keys)
    return [
        value
        for place in places
        for value in joined_seeds(readout, [cast(list[float], part[key].values) for key in keys if key[0] == place])
    ]


def read(root: Path, files: Iterable[str]) -> Store:
    """What ``files`` say: paths, patterns, or NAME=PATH, whose rule goes by NAME. Raises ValueError for others."""
    store = Store()
    for pattern in files:
        label, _, pattern_path = pattern.rpartition("=")
        paths = sorted(root.glob(pattern_path))
        if not paths:
            raise ValueError(f"{pattern_path}: no such file under {root}, expected results of an evaluation")
        for path in paths:
            name = str(path.relative_to(root))
            try:
                store.add(name, json.loads(path.read_text(encoding="utf-8")), label)
            except (KeyError, TypeError, AttributeError, IndexError, json.JSONDecodeError) as error:
                raise ValueError(f"{name}: no results of this project ({type(error).__name__}: {error})") from None
    return store


def is_lead(of: Mapping[str, Any]) -> bool:
    """Whether the answer to the question ``of`` is a lead, which has a sign, and not an accuracy or a share."""
    return "minus" in of and "share_of" not in of


def unit_of(of: Mapping[str, Any]) -> str:
    """What the answer to the question ``of`` counts, 100 times what is stored."""
    if is_lead(of):
        return "points"
    if OVER in of["method"]:
        return "times"
    return next((cost for cost in COSTS if of.get("source") == cost), "percent")
