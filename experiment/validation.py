"""How a rule in training does on data that it does not train on: what is logged, and by what the best is chosen."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.adaptation import Adaptation
from evaluation.evaluation import InnerTraining, evaluate_rule
from evaluation.paired_tasks import PairedTask
from evaluation.receptive_fields import montage, receptive_fields
from experiment.configured import rule_use
from experiment.task_sources import evaluation_tasks
from outer_loop.config.schema import Config
from outer_loop.run.metric_names import HELD_OUT, TRAINING, AccuracyName
from tasks.dataset import Dataset
from update_rules.contract import Rule

SEED = 2**31
"""Held-out tasks are the same at every evaluation, and for runs of the same settings; a source without a split of its
own is split by the run's seed."""


class Watched(NamedTuple):
    """What one evaluation finds."""

    metrics: dict[str, float]
    """Accuracy by source and inner step, with the keys of ``metrics.jsonl``."""
    mean: float
    """Accuracy over the held-out sources after the last inner step."""
    fields: list[NDArray[np.uint8]]
    """Pictures of the first layer's weights before and after, where it has images."""


class HeldOut:
    """The evaluation that ``config.evaluation`` asks for, on the ``loaded`` data of networks with ``inputs`` inputs."""

    def __init__(self, config: Config, loaded: Mapping[str, Sequence[Dataset]], inputs: int) -> None:
        training = config.tasks.sources if config.evaluation.training is None else config.evaluation.training
        self.config, self.inputs = config, inputs
        self.sources = {
            (kind, name): evaluation_tasks(config, loaded[name])
            for kind, names in ((TRAINING, training), (HELD_OUT, config.evaluation.sources))
            for name in names
        }

    def inner_training(self) -> InnerTraining | Adaptation:
        """What rules are evaluated on."""
        return rule_use(self.config, self.config.evaluation.steps, self.inputs)

    def watch(self, rule: Rule) -> Watched:
        """The readout accuracy of ``rule`` by inner step on every source."""
        settings, inner = self.config.evaluation, self.inner_training()
        metrics: dict[str, float] = {}
        last = []
        for (kind, name), source in self.sources.items():
            by_step = evaluate_rule(
                rule, source, inner, read_every=settings.read_every, tasks=settings.tasks, seed=SEED
            )
            metrics |= {str(AccuracyName(kind, name, step)): accuracy for step, accuracy in by_step.items()}
            if kind == HELD_OUT:
                last.append(by_step[inner.steps])
        shown = PairedTask(next(iter(self.sources.values())), SEED, 0)
        fields = receptive_fields(rule, shown, inner) if isinstance(inner, InnerTraining) else None
        return Watched(metrics, sum(last) / len(last), [montage(field) for field in fields or ()])
