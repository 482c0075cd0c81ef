"""How a rule in training does on data that it does not train on: what is logged, and by what the best is chosen."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from evaluation.clusterings import mean_scores
from evaluation.comparison import compare
from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN, READOUT
from evaluation.protocol import Use, read_points
from evaluation.rules import RuleMethod, pictures_of
from experiment.report.montage import montage
from experiment.task_sources import evaluation_tasks
from outer_loop.config.schema import Config
from outer_loop.run.metric_names import KINDS, VALIDATION, AccuracyName, ReadName
from outer_loop.trainer import Validation
from tasks.dataset import Dataset
from tasks.source import TaskSource
from update_rules.contract import OF_SETS, Rule

SEED = 2**31
"""Validation tasks are the same every time, and for runs of the same settings; a source without a split of its own is
split by the run's seed."""


class Judged(NamedTuple):
    """Mean accuracies of a rule on tasks of one source."""

    by_step: dict[int, float]
    """By the first probe, after each count of inner steps, over all labels."""
    last: dict[tuple[int, str], float]
    """After the last inner step, by labels of a class and probe; empty where there is one of both."""

    @property
    def mean(self) -> float:
        """After the last inner step, over labels and probes."""
        return sum(self.last.values()) / len(self.last) if self.last else self.by_step[max(self.by_step)]


def probe_of(use: Use) -> str:
    """What a rule is judged by where nobody says: its own readout if that can tell classes, else ridge regression."""
    return OWN if use.own else READOUT


def judged(
    rule: Rule,
    source: TaskSource,
    use: Use,
    *,
    points: Sequence[int],
    tasks: int,
    seed: int,
    shots: Sequence[int] = (),
    probes: Sequence[str] = (),
) -> Judged:
    """Mean few-shot accuracies of ``rule`` over ``tasks`` tasks of ``source``, by inner step and by ``probes``.

    Without ``shots`` and ``probes``, or for a rule with a readout of its own, by one probe and the source's shots. Of a
    rule that clusters it is the mean adjusted Rand index over whole sets.
    """
    if rule.gives in OF_SETS:
        return Judged(mean_scores(rule, source, points=points, sets=tasks, seed=seed), {})
    own = use.own or not probes
    shots, probes = ((source.shots,), (probe_of(use),)) if own else (shots, probes)
    found = compare(
        {"rule": RuleMethod(rule, use, tuple(points))},
        source,
        shots=shots,
        readouts=probes,
        early=probes[:1],
        tasks=tasks,
        seed=seed,
    )
    means = {(one.shots, one.readout, one.steps or 0): sum(one.accuracies) / tasks for one in found}
    by_step = {step: sum(means[count, probes[0], step] for count in shots) / len(shots) for step in points}
    last = {(count, probe): means[count, probe, points[-1]] for probe in probes for count in shots}
    return Judged(by_step, last if len(last) > 1 else {})


class SourceValidator:
    """The validation that ``config.evaluation`` asks for, on the ``loaded`` data, of a rule used as ``use`` says."""

    def __init__(self, config: Config, loaded: Mapping[str, Sequence[Dataset]], use: Use) -> None:
        settings = config.evaluation
        self.settings, self.use = settings, use
        self.shots, self.probes = config.evaluation_shots, settings.probes
        kinds = dict(zip(KINDS, config.evaluated_sources, strict=True))
        self.sources = {
            (kind, name): evaluation_tasks(config, loaded[name]) for kind, names in kinds.items() for name in names
        }
        self.tasks = {kind: settings.tasks_of(len(names)) for kind, names in kinds.items() if names}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the data sets of all sources and how tasks are drawn from them."""
        digest = hashlib.sha256()
        for (kind, _), source in self.sources.items():
            digest.update(f"{kind} {source.fingerprint}".encode())
        return digest.hexdigest()

    def judged(self, rule: Rule, kind: str, name: str, points: Sequence[int]) -> Judged:
        """The accuracies of ``rule`` on one source."""
        how = {"tasks": self.tasks[kind], "seed": SEED}
        source = self.sources[kind, name]
        return judged(rule, source, self.use, points=points, shots=self.shots, probes=self.probes, **how)

    def validate(self, rule: Rule) -> Validation:
        """The accuracies of ``rule`` on every source: by inner step, and after the last by labels and probe."""
        points = read_points(self.use.steps, self.settings.read_every)
        metrics: dict[str, float] = {}
        means = []
        for kind, name in self.sources:
            found = self.judged(rule, kind, name, points)
            metrics |= {str(AccuracyName(kind, name, step)): accuracy for step, accuracy in found.by_step.items()}
            metrics |= {str(ReadName(kind, name, *place)): accuracy for place, accuracy in found.last.items()}
            if kind == VALIDATION:
                means.append(found.mean)
        first = PairedTask(next(iter(self.sources.values())), SEED, 0)
        shown = None if rule.gives in OF_SETS else pictures_of(rule, self.use, first)
        captions = (f"receptive fields {when} {self.use.steps} inner steps" for when in ("before", "after"))
        pictures = dict(zip(captions, [] if shown is None else [montage(one.numpy()) for one in shown], strict=False))
        return Validation(metrics, sum(means) / len(means), pictures)
