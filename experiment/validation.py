"""How a rule in training does on data that it does not train on: what is logged, and by what the best is chosen."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property

from evaluation.clusterings import mean_scores
from evaluation.comparison import compare
from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN, READOUT
from evaluation.protocol import Use, read_points
from evaluation.rules import RuleMethod, pictures_of
from experiment.report.montage import montage
from experiment.task_sources import evaluation_tasks
from outer_loop.config.schema import Config
from outer_loop.run.metric_names import TRAINING, VALIDATION, AccuracyName
from outer_loop.trainer import Validation
from tasks.dataset import Dataset
from tasks.source import TaskSource
from update_rules.contract import OF_SETS, Rule

SEED = 2**31
"""Validation tasks are the same every time, and for runs of the same settings; a source without a split of its own is
split by the run's seed."""


def probe_of(use: Use) -> str:
    """What a rule is judged by where nobody says: its own readout if that can tell classes, else ridge regression."""
    return OWN if use.own else READOUT


def mean_accuracies(
    rule: Rule, source: TaskSource, use: Use, *, points: Sequence[int], tasks: int, seed: int
) -> dict[int, float]:
    """Mean few-shot accuracy of ``rule`` over ``tasks`` tasks of ``source`` after each of ``points`` inner steps.

    Of a rule that clusters it is the mean adjusted Rand index over whole sets.
    """
    if rule.gives in OF_SETS:
        return mean_scores(rule, source, points=points, sets=tasks, seed=seed)
    method = RuleMethod(rule, use, tuple(points))
    found = compare({"rule": method}, source, shots=[source.shots], readouts=[probe_of(use)], tasks=tasks, seed=seed)
    return {one.steps or 0: sum(one.accuracies) / tasks for one in found}


class SourceValidator:
    """The validation that ``config.evaluation`` asks for, on the ``loaded`` data, of a rule used as ``use`` says."""

    def __init__(self, config: Config, loaded: Mapping[str, Sequence[Dataset]], use: Use) -> None:
        training = config.tasks.sources if config.evaluation.training is None else config.evaluation.training
        self.settings, self.use = config.evaluation, use
        self.sources = {
            (kind, name): evaluation_tasks(config, loaded[name])
            for kind, names in ((TRAINING, training), (VALIDATION, config.evaluation.sources))
            for name in names
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the data sets of all sources and how tasks are drawn from them."""
        digest = hashlib.sha256()
        for (kind, _), source in self.sources.items():
            digest.update(f"{kind} {source.fingerprint}".encode())
        return digest.hexdigest()

    def validate(self, rule: Rule) -> Validation:
        """The readout accuracy of ``rule`` by inner step on every source."""
        points = read_points(self.use.steps, self.settings.read_every)
        metrics: dict[str, float] = {}
        last = []
        for (kind, name), source in self.sources.items():
            by_step = mean_accuracies(rule, source, self.use, points=points, tasks=self.settings.tasks, seed=SEED)
            metrics |= {str(AccuracyName(kind, name, step)): accuracy for step, accuracy in by_step.items()}
            if kind == VALIDATION:
                last.append(by_step[self.use.steps])
        first = PairedTask(next(iter(self.sources.values())), SEED, 0)
        shown = None if rule.gives in OF_SETS else pictures_of(rule, self.use, first)
        captions = (f"receptive fields {when} {self.use.steps} inner steps" for when in ("before", "after"))
        pictures = dict(zip(captions, [] if shown is None else [montage(one.numpy()) for one in shown], strict=False))
        return Validation(metrics, sum(last) / len(last), pictures)
