"""Accuracies of learned starts, task by task, from what evaluate_few_shot stored."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.learners import MEANING
from evaluation.results import hardware, short_commit
from evaluation.statistics import Mean, mean_over_seeds, paired_over_seeds

OWN = ("scratch", *[name for name in MEANING if name != "scratch"])
"""Learners that share a rule's network, and so are others for another rule."""

ENCODER = "embedding"
"""What the page calls the encoder, whatever its file is called."""


class Key(NamedTuple):
    """Which tasks accuracies are of."""

    source: str
    ways: int
    shots: int


@dataclass
class FewShotRuns:
    """Accuracies of each task by learner, tasks and seed."""

    rules: list[str] = field(default_factory=list)
    found: dict[tuple[str, Key], dict[int, list[float]]] = field(default_factory=dict)
    made: dict[str, list[str]] = field(default_factory=dict)
    """By file name: its command, commit, batch norm and hardware."""
    drawn: dict[tuple[Key, int], str] = field(default_factory=dict)
    encoders: set[str] = field(default_factory=set)

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        """Add what the file ``name`` holds.

        Raises ValueError where its tasks or encoder are not those of the other files, or another file has its rule on
        these tasks too.
        """
        meta = content["meta"]
        rule = re.sub(r"_\d+$", "", Path(meta["rule_file"]).parent.name)
        if rule not in self.rules:
            self.rules.append(rule)
        self.made[name] = [f"`{meta['command']}`", short_commit(meta), meta["batch_norm"], hardware(meta)]
        encoders = [Path(path).stem for path in meta["encoder"]]
        self.encoders.update(encoders)
        if len(self.encoders) > 1:
            raise ValueError(f"{name}: got the encoders {', '.join(sorted(self.encoders))}, expected one in all files")
        for one in content["per_task"]:
            key = Key(one["source"], one["ways"], one["shots"])
            if self.drawn.setdefault((key, one["seed"]), one["drawn"]) != one["drawn"]:
                raise ValueError(f"{name}: other tasks than in other files, seed {one['seed']}; they cannot be paired")
            learner = _learner(one["method"], rule, encoders)
            by_seed = self.found.setdefault((learner, key), {})
            if learner == rule and one["seed"] in by_seed:
                raise ValueError(f"{name}: another file has {rule!r} on tasks of seed {one['seed']} too; take one away")
            by_seed[one["seed"]] = one["accuracies"]

    def kinds(self) -> list[Key]:
        """The kinds of tasks that there are accuracies of, in order."""
        return sorted({key for _, key in self.found})

    def mean(self, learner: str, key: Key) -> Mean | None:
        """Over all tasks of all seeds."""
        by_seed = self.found.get((learner, key))
        return mean_over_seeds(by_seed) if by_seed else None

    def lead(self, first: str, second: str, key: Key) -> Mean | None:
        """``first`` less ``second``, task by task, on the seeds that both have."""
        found = self.lead_and_tasks(first, second, key)
        return found[0] if found else None

    def lead_and_tasks(self, first: str, second: str, key: Key) -> tuple[Mean, int] | None:
        """The same with the number of tasks."""
        return paired_over_seeds(self.found.get((first, key), {}), self.found.get((second, key), {}))


def _learner(method: str, rule: str, encoders: Iterable[str]) -> str:
    if method == "rule":
        return rule
    if method in OWN:
        return f"{method} of {rule}"
    for encoder in encoders:
        if method.startswith(f"{encoder}_"):
            return f"{ENCODER}{method.removeprefix(encoder)}"
    return method


def read_runs(paths: Iterable[Path]) -> FewShotRuns:
    """The results in the JSON files at ``paths``. Raises OSError, and ValueError for files of another kind."""
    runs = FewShotRuns()
    for path in paths:
        try:
            runs.add(path.name, json.loads(path.read_text(encoding="utf-8")))
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path}: no results of scripts/evaluate_few_shot.py ({type(error).__name__}: {error})"
            ) from None
    return runs
