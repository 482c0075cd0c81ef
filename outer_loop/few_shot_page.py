"""``docs/unsupervised-meta-learning.md``: learned starts with and without labels, as evaluate_few_shot stored them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from outer_loop.learners import MEANING
from outer_loop.markdown import table
from outer_loop.results import hardware, short_commit
from outer_loop.results_table import percent, short_source
from outer_loop.statistics import Mean, mean_over_seeds, paired_over_seeds

OWN = ("scratch", *[name for name in MEANING if name != "scratch"])
"""Learners that share a rule's network, and so are others for another rule."""

ENCODER = "embedding"
"""What the page calls the encoder, whatever its file is called."""

PUBLISHED = """\
| published, percent | Omniglot 5w1s | 5w5s | 20w1s | 20w5s | miniImageNet 5w1s | 5w5s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| training from scratch | 52.5 | 74.8 | 24.9 | 47.6 | 27.6 | 38.5 |
| nearest neighbours on the embedding (ACAI, DeepCluster) | 57.5 | 81.2 | 39.7 | 66.4 | 28.9 | 42.3 |
| linear classifier on it | 61.1 | 81.8 | 43.2 | 66.3 | 29.4 | 39.8 |
| CACTUs-MAML | 68.8 | 87.8 | 48.1 | 73.4 | 39.9 | 54.0 |
| CACTUs-ProtoNet | 68.1 | 83.6 | 47.8 | 66.3 | 39.2 | 53.4 |
| UMTRA | 83.8 | 95.4 | 74.3 | 92.1 | 39.9 | 50.7 |
| AAL-ProtoNet | 84.7 | 89.1 | | | 37.7 | 40.3 |
| AAL-MAML++ | 88.4 | 98.0 | | | 34.6 | 49.2 |
| MAML, true labels | 94.5 | 98.8 | 84.6 | 96.3 | 46.8 | 62.1 |
| ProtoNet, true labels | 98.4 | 99.6 | 95.3 | 98.8 | 46.6 | 62.3 |"""
"""From Hsu et al. (2019), Khodadadeh et al. (2019) and Antoniou and Storkey (2019)."""


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
    meta: dict[str, dict[str, Any]] = field(default_factory=dict)
    drawn: dict[tuple[Key, int], str] = field(default_factory=dict)

    def add(self, name: str, content: Mapping[str, Any]) -> None:
        """What the file ``name`` holds. Raises ValueError where its tasks are not those of the other files."""
        meta = content["meta"]
        rule = re.sub(r"_\d+$", "", Path(meta["rule_file"]).parent.name)
        if rule not in self.rules:
            self.rules.append(rule)
        self.meta[name] = meta
        encoders = [Path(path).stem for path in meta["encoder"]]
        for one in content["per_task"]:
            key = Key(one["source"], one["ways"], one["shots"])
            if self.drawn.setdefault((key, one["seed"]), one["drawn"]) != one["drawn"]:
                raise ValueError(f"{name}: other tasks than in other files, seed {one['seed']}; they cannot be paired")
            learner = _learner(one["method"], rule, encoders)
            self.found.setdefault((learner, key), {})[one["seed"]] = one["accuracies"]

    def mean(self, learner: str, key: Key) -> Mean | None:
        """Over all tasks of all seeds."""
        by_seed = self.found.get((learner, key))
        return mean_over_seeds(by_seed) if by_seed else None

    def lead(self, first: str, second: str, key: Key) -> Mean | None:
        """``first`` less ``second``, task by task, on the seeds that both have."""
        found = paired_over_seeds(self.found.get((first, key), {}), self.found.get((second, key), {}))
        return found[0] if found else None


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


def tables(runs: FewShotRuns) -> str:
    """Accuracies and leads on each kind of task, published figures, provenance."""
    keys = sorted({key for _, key in runs.found}, key=lambda key: (key.source, key.ways, key.shots))
    made = [
        [
            name,
            f"`{meta['command']}`",
            short_commit(meta),
            meta["batch_norm"],
            hardware(meta),
        ]
        for name, meta in sorted(runs.meta.items())
    ]
    return "\n\n".join(
        [
            "## Accuracy",
            "In percent; `+` columns and the second tables: how far ahead on the same tasks. `its scratch` and `its "
            "untrained_prototypes` are the rule's own network from a random start.",
            *(_of_key(runs, key) for key in keys),
            "## Published\n\nOn other data, so not to be compared number by number; the order of methods is.",
            PUBLISHED,
            "## How it was made",
            table(["file", "command", "commit", "batch norm", "hardware"], made),
        ]
    )


def _of_key(runs: FewShotRuns, key: Key) -> str:
    """The section of tasks of one kind: each learner, and rules of one learner or one labeller against each other."""
    there = list(dict.fromkeys(learner for learner, found in runs.found if found == key))
    rules = [rule for rule in runs.rules if rule in there]
    shared = [name for name in there if name not in rules and " of " not in name]
    own = [name for name in OWN if any(f"{name} of {rule}" in there for rule in rules)]
    rows = []
    for rule in rules:
        others = [*(f"{name} of {rule}" for name in own), *shared]
        leads = [_cell(runs.lead(rule, other, key), "+") for other in others]
        count = sum(len(values) for values in runs.found[rule, key].values())
        rows.append([f"`{rule}`", _cell(runs.mean(rule, key)), str(count), *leads])
    nothing = [""] * (len(own) + len(shared) + 1)
    rows += [[name, _cell(runs.mean(name, key)), *nothing] for name in shared]
    heads = ["learner", "accuracy", "tasks", *(f"+ its {name}" for name in own), *(f"+ {name}" for name in shared)]
    pairs = [
        [f"`{one}` over `{other}`", _cell(lead, "+")]
        for place, one in enumerate(rules)
        for other in rules[place + 1 :]
        if _related(one, other) and (lead := runs.lead(one, other, key)) is not None
    ]
    parts = [f"### {short_source(key.source)}, {key.ways}-way {key.shots}-shot", table(heads, rows)]
    return "\n\n".join([*parts, *([table(["rules", "ahead by"], pairs)] if pairs else [])])


def _related(one: str, other: str) -> bool:
    """Whether names such as ``umtra`` and ``umtra_identity``, or ``oracle_maml`` and ``cactus_maml``, share an end."""
    first, second = one.split("_"), other.split("_")
    return first[0] == second[0] or first[-1] == second[-1]


def _cell(mean: Mean | None, sign: str = "") -> str:
    return "" if mean is None else percent(*mean, sign)
