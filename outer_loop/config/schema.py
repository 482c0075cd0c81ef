"""The settings of a meta-training run: a YAML file and ``key=value`` overrides, checked before anything starts."""

from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from torch import nn

from common.checked import Count, NotNegative, Rate, Share, Whole, one_of
from common.home_folder import expanded
from inner_loop.networks.registry import NETWORKS
from outer_loop.config.misfits import misfits
from outer_loop.config.probes import Probe
from outer_loop.config.tasks import TasksConfig
from outer_loop.config.values import (
    Component,
    Counts,
    Options,
    Range,
    Section,
    Sources,
    Text,
    Texts,
    as_texts,
    component_name,
)
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.optimisers import OPTIMISERS, RESERVED, make_optimiser
from outer_loop.readouts.normalisation import NORMALISATIONS
from outer_loop.readouts.registry import READOUTS
from update_rules.registry import RULES

VALIDATION_TASKS, LABELS, BETWEEN, SHARE = 60, 10, 4, 0.2
"""What is usual of evaluation: tasks in all, the most labels of a class, the most times between start and end, and the
most of a run's work where there are so many times."""

BACKWARD = 3
"""An inner step with its part of a gradient is as much work as so many without."""


class RuleConfig(Component):
    """Which update rule is learned."""

    registry = RULES
    name: Text = component_name("neuron_local", RULES)
    options: Options = Field(default={}, description="keyword arguments of the rule's class")
    pretrained: str = Field(
        default="", description="rule file, or name of a pretrained rule, to start from; '' is the rule as it is made"
    )
    learn: Texts = Field(
        default=(), description="names of the rule's parameters that are learned, the others stay; [] is all of them"
    )


class NetworkConfig(Component):
    """The base networks that the rule trains; each task draws one."""

    registry = NETWORKS
    name: Text = component_name("mlp", NETWORKS)
    options: Options = Field(
        default={},
        description="mlp: hidden (choices of widths, bottom first), outputs (features), activations (choices); "
        "conv4: filters, channels, pooling (stride or max); none: no network, for rules that cluster",
    )
    normalisation: Annotated[str, one_of(*NORMALISATIONS)] = Field(
        default="batch",
        description="what normalises the examples that a readout sees: batch, all of them at once; support, the "
        "support set alone; unlabelled, examples of the task; or running averages over meta-training, where a rule "
        "keeps some, which itself goes by batch",
    )


class InnerConfig(Section):
    """The inner loop: how long the rule trains a base network."""

    unroll: Range = Field(default=(5, 10), description="[shortest, longest] truncation, in inner steps")
    length: Range = Field(default=(20, 60), description="[shortest, longest] whole trajectory, in inner steps")
    curriculum: Whole = Field(
        default=0, description="outer steps over which the longest trajectory grows from the shortest"
    )
    read_every: Count = Field(default=5, description="inner steps between two readouts")
    recompute: Literal["auto"] | bool = Field(
        default="auto",
        description="run each step again in the backward pass, saving memory: auto (where it is short), true, or false",
    )
    compile: bool = Field(
        default=False, description="torch.compile the inner step: minutes for each network shape, before it may pay"
    )

    def _misfits(self) -> Iterable[tuple[str, str]]:
        if self.unroll[1] > self.length[0]:
            yield "unroll", f"truncations no longer than the shortest length, {self.length[0]}"
        if self.read_every > self.unroll[0]:
            yield "read_every", f"at most the shortest unroll, {self.unroll[0]}"


class ReadoutConfig(Component):
    """What reads a trained network out: the meta-objective."""

    registry = READOUTS
    name: Text = component_name("ridge", READOUTS)
    options: Options = Field(default={}, description="ridge: penalty; marginal_ridge: penalties, temperatures")


class EstimatorConfig(Component):
    """What estimates a direction for θ."""

    registry = ESTIMATORS
    name: Text = component_name("truncated_backprop", ESTIMATORS)
    options: Options = Field(default={}, description="evolution_strategies: deviation, pairs")


class OptimiserConfig(Component):
    """What descends along that direction."""

    registry = OPTIMISERS
    name: Text = component_name("Adam", OPTIMISERS)
    options: Options = Field(default={}, description="keyword arguments of the class in torch.optim, but for lr")

    def _misfits(self) -> Iterable[tuple[str, str]]:
        reserved = [name for name in RESERVED if name in self.options]
        told = "no such option: see outer.learning_rate"
        return [(f"options.{name}", told) for name in reserved] or super()._misfits()

    def _try_out(self) -> None:
        make_optimiser(self.name, [nn.Parameter(torch.zeros(1, 1))], 1.0, self.options)


class OuterConfig(Section):
    """The outer loop: how θ is improved."""

    tasks_per_step: Count = Field(default=8, description="tasks in an outer step")
    team: Count = Field(default=1, description="neighbouring tasks that share a shape and run as one batch")
    turns: Count = Field(
        default=1,
        description="sets of tasks_per_step tasks in flight, advanced in turn: more tasks behind θ in the same time",
    )
    average: Share = Field(
        default=0.0, description="decay at each outer step of the moving average of θ that is kept; 0: θ itself"
    )
    learning_rate: Rate = Field(default=1e-3, description="the optimiser's rate after the warm-up")
    warmup: Whole = Field(default=20, description="outer steps over which the rate rises from 0")
    final_learning_rate: NotNegative = Field(
        default=1e-4, description="the rate at the last outer step, reached on a cosine"
    )
    clip: Rate = Field(default=0.1, description="largest norm of the direction that the optimiser descends along")
    readout: ReadoutConfig = ReadoutConfig()
    estimator: EstimatorConfig = EstimatorConfig()
    optimiser: OptimiserConfig = Field(default_factory=OptimiserConfig)  # trying one out loads half of torch
    anneal_reads: Whole = Field(
        default=0, description="outer steps over which the last readout of an unroll comes to count alone; 0: all alike"
    )

    def _misfits(self) -> Iterable[tuple[str, str]]:
        if self.final_learning_rate > self.learning_rate:
            yield "final_learning_rate", f"at most learning_rate, {self.learning_rate}"


class EvaluationConfig(Section):
    """How the rule is watched on held-out sources: at the start, at the end and between."""

    every: Count | None = Field(
        default=None,
        description="outer steps between two evaluations; null is a fifth of the run, or more for a short run",
    )
    sources: Sources = Field(default=("glyphs@valid",), description="data SOURCEs that the rule must not train on")
    training: Texts | None = Field(
        default=None, description="data SOURCEs of the training that are evaluated too; null is all of tasks.sources"
    )
    far: Texts = Field(
        default=(), description="data SOURCEs unlike those of the training, shown beside, by which nothing is chosen"
    )
    tasks: Count | None = Field(
        default=None, description="tasks drawn from each source; null is 60, shared out among sources of one kind"
    )
    ways: Count | None = Field(default=None, description="classes in a task; null is the most of the training")
    shots: Counts | None = Field(
        default=None, description="labelled examples of each class; null is 1, and those of the training up to 10"
    )
    probes: Annotated[tuple[Probe, ...], Field(strict=False, min_length=1), BeforeValidator(as_texts)] = Field(
        default=("ridge", "logistic", "prototype"),
        description="what reads features out, by whose mean the best rule is chosen; rules with a readout of their own "
        "are judged by that",
    )
    steps: Count = Field(default=50, description="inner steps on each task")
    read_every: Count = Field(default=10, description="inner steps between two readouts")

    def _misfits(self) -> Iterable[tuple[str, str]]:
        if self.read_every > self.steps:
            yield "read_every", f"at most evaluation.steps, {self.steps}"
        if self.ways == 1:
            yield "ways", "2 or more"

    def tasks_of(self, sources: int) -> int:
        """Tasks drawn from each of so many sources of one kind."""
        return self.tasks or -(-VALIDATION_TASKS // sources)


class ReportConfig(Section):
    """What the finished rule is judged on, for the run's report; false alone is no report."""

    sources: Texts = Field(default=("digits",), description="data SOURCEs of the report; [] is no report")
    tasks: Annotated[int, Field(ge=2)] = Field(default=100, description="paired tasks drawn from each source")
    steps: Count | None = Field(
        default=None, description="inner steps on each task, which the rule file says too; null is evaluation.steps"
    )

    @model_validator(mode="before")
    @classmethod
    def _none(cls, value: object) -> object:
        return {"sources": []} if value is False else value


class TrackingConfig(Section):
    """How the run is mirrored in wandb; a text alone is the mode."""

    alone: ClassVar[str] = "mode"

    mode: Literal["auto", "online", "offline", "off"] = Field(
        default="auto",
        description="wandb: auto (online where a key is configured, else offline), online, offline or off",
    )
    project: str = Field(default="", description="wandb's project; '' is the usual one, unsupervised-update-rules")
    group: str = Field(default="", description="runs that belong together, such as the seeds of one setting")
    job_type: str = Field(default="meta_train", description="what kind of run it is")
    tags: Texts = Field(default=(), description="words to find the run by")
    notes: str = Field(default="", description="what the run is for")


class Config(Section):
    """All settings of a meta-training run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(default=0, description="decides every random draw of the run")
    run_dir: Annotated[Text, AfterValidator(expanded)] = Field(
        default="runs/default", description="folder of the run: config, metrics, checkpoints, report"
    )
    outer_steps: Count = Field(default=300, description="outer steps in all")
    device: Annotated[str, Field(pattern=r"^(cpu|cuda(:\d+)?)$")] = Field(
        default="cpu", description="cpu, cuda or cuda:N"
    )
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        default="highest",
        description="float32 products on a GPU: highest (float32), high (TF32) or medium (bfloat16 where supported)",
    )
    threads: Annotated[int, Field(ge=0, le=1024)] = Field(
        default=1, description="CPU threads; 0 leaves PyTorch's own choice"
    )
    tracking: TrackingConfig = TrackingConfig()
    checkpoint_every: Count = Field(default=25, description="outer steps between two checkpoints")
    keep: Whole = Field(default=3, description="checkpoints kept besides the last and the best")
    rule: RuleConfig = RuleConfig()
    network: NetworkConfig = NetworkConfig()
    tasks: TasksConfig = TasksConfig()
    inner: InnerConfig = InnerConfig()
    outer: OuterConfig = Field(default_factory=OuterConfig)
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @property
    def report_steps(self) -> int:
        """Inner steps on each task of the report, and what the rule file says."""
        return self.evaluation.steps if self.report.steps is None else self.report.steps

    @property
    def evaluation_shots(self) -> tuple[int, ...]:
        """Labelled examples of each class by which features are judged."""
        return self.evaluation.shots or tuple(sorted({1, min(LABELS, self.tasks.shots[1])}))

    @property
    def evaluated_sources(self) -> tuple[Texts, Texts, Texts]:
        """Those of the training that are evaluated, those that judge and far ones, each once."""
        settings = self.evaluation
        training = self.tasks.sources if settings.training is None else settings.training
        train, valid, far = (tuple(dict.fromkeys(names)) for names in (training, settings.sources, settings.far))
        return train, valid, far

    def evaluated_after(self, outer_step: int) -> bool:
        """Whether the rule is evaluated after ``outer_step``, 0 being the start."""
        every = self.evaluation.every or -(-self.outer_steps // (self._evaluations_between + 1))
        return outer_step % every == 0 or outer_step == self.outer_steps

    @property
    def _evaluations_between(self) -> int:
        """How many times between start and end are at most BETWEEN, and SHARE of the run, by inner steps of tasks."""
        settings, kinds = self.evaluation, [len(sources) for sources in self.evaluated_sources if sources]
        once = settings.steps * sum(count * settings.tasks_of(count) for count in kinds)
        learned = self.outer_steps * self.outer.tasks_per_step * sum(self.inner.unroll) / 2 * BACKWARD
        return min(BETWEEN, max(0, int(SHARE / (1 - SHARE) * learned / once) - 2))

    def _misfits(self) -> Iterable[tuple[str, str]]:
        return misfits(self)
