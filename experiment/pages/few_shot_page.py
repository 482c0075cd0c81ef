"""``docs/unsupervised-meta-learning.md``: learned starts with and without labels, as evaluate_few_shot stored them."""

from evaluation.results_table import percent, short_source
from evaluation.statistics import Mean
from experiment.pages.few_shot_claims import SOURCES, WAYS, claims
from experiment.pages.few_shot_runs import OWN, FewShotRuns, Key
from experiment.pages.markdown import table

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


def tables(runs: FewShotRuns) -> str:
    """Accuracies and leads on each kind of task, published figures, provenance."""
    made = [[name, *how] for name, how in sorted(runs.made.items())]
    return "\n\n".join(
        [
            "## Claims",
            f"On `{'`, `'.join(SOURCES)}`, {WAYS} ways: points by which a learner is ahead on the same tasks, "
            "in brackets how many tasks these are; blank: not measured. `its` is as below.",
            claims(runs),
            "## Accuracy",
            "In percent; `+` columns and the second tables: how far ahead on the same tasks. `its scratch` and `its "
            "untrained_prototypes` are the rule's own network from a random start.",
            *(_of_key(runs, key) for key in runs.kinds()),
            "## Published\n\nOn other data, so not to be compared number by number.",
            PUBLISHED,
            "## How it was made",
            table(["file", "command", "commit", "batch norm", "hardware"], made),
        ]
    )


def _of_key(runs: FewShotRuns, key: Key) -> str:
    """The section of tasks of one kind: each learner, and rules of one system or one learner against each other."""
    there = list(dict.fromkeys(learner for learner, found in runs.found if found == key))
    rules = [rule for rule in runs.rules if rule in there]
    shared = [name for name in there if name not in rules and " of " not in name]
    own = [name for name in OWN if any(f"{name} of {rule}" in there for rule in rules)]
    rows = []
    for rule in rules:
        others = [*(f"{name} of {rule}" for name in own), *shared]
        leads = [_cell(runs.lead(rule, other, key), "+") for other in others]
        rows.append([f"`{rule}`", *_of_learner(runs, rule, key), *leads])
    nothing = [""] * (len(own) + len(shared))
    rows += [[name, *_of_learner(runs, name, key), *nothing] for name in shared]
    heads = ["learner", "accuracy", "tasks", *(f"+ its {name}" for name in own), *(f"+ {name}" for name in shared)]
    pairs = [
        [f"`{one}` over `{other}`", _cell(lead, "+")]
        for place, one in enumerate(rules)
        for other in rules[place + 1 :]
        if _related(one, other) and (lead := runs.lead(one, other, key)) is not None
    ]
    parts = [f"### {short_source(key.source)}, {key.ways}-way {key.shots}-shot", table(heads, rows)]
    if pairs:
        parts += [
            "<details><summary>Rules against each other</summary>",
            table(["rules", "ahead by"], pairs),
            "</details>",
        ]
    return "\n\n".join(parts)


def _of_learner(runs: FewShotRuns, learner: str, key: Key) -> tuple[str, str]:
    """Its accuracy, and of how many tasks."""
    return _cell(runs.mean(learner, key)), str(sum(map(len, runs.found[learner, key].values())))


def _related(one: str, other: str) -> bool:
    """Whether names share a system (``umtra``, ``umtra_few``) or a learner (``oracle_maml``, ``aal_maml_long``)."""
    first, second = one.split("_"), other.split("_")
    return first[0] == second[0] or not {"maml", "protonet"}.isdisjoint({*first} & {*second})


def _cell(mean: Mean | None, sign: str = "") -> str:
    return "" if mean is None else percent(*mean, sign)
