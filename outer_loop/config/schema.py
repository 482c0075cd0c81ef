"""The settings of a meta-training run: a YAML file and ``key=value`` overrides, checked before anything starts."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationError, model_validator

from common.components import Registry
from inner_loop.networks.activations import NETWORK_ACTIVATIONS
from inner_loop.networks.conv4 import POOLINGS
from inner_loop.networks.description import KINDS
from outer_loop.config.rule_problems import rule_problems
from outer_loop.config.values import (
    Beta,
    Component,
    Count,
    CountOrRange,
    Counts,
    Lax,
    NotNegative,
    Options,
    Problem,
    Range,
    Rate,
    Section,
    Sources,
    Text,
    as_list,
    component_name,
    invalid,
    one_of,
    yaml_true,
)
from outer_loop.readouts.objective import BATCH_NORMS, OBJECTIVES
from tasks.augmentations import parse_augmentation
from tasks.labellers import LABELLERS
from tasks.partitions import PARTITIONS
from update_rules.registry import RULES

PSEUDO_LABELLERS = ("instances", *PARTITIONS)
"""Labellers that never look at labels: UMTRA's and AAL's, and the two of CACTUs."""


DIFFERENTIABLE = tuple(name for name in NETWORK_ACTIVATIONS if name != "step")
"""Activations that a rule can be meta-trained with: a step lets no meta-gradient through. It can be applied to one."""


def _augmentation(value: str) -> str:
    """``value`` without blanks around it, if it is what ``parse_augmentation`` reads."""
    try:
        parse_augmentation(value)
    except ValueError as error:
        raise Problem(str(error).partition("expected ")[2]) from None
    return value.strip()


class RuleConfig(Component):
    """Which update rule is learned."""

    registry: ClassVar[Registry[Any]] = RULES

    name: Text = component_name("neuron_local", RULES)
    options: Options = Field(default={}, description="keyword arguments of the rule's class")
    start: str = Field(default="", description="rule file, or name of a pretrained rule, to start from; '' is none")
    learn: Annotated[tuple[Text, ...], Lax] = Field(
        default=(), description="names of the rule's parameters that are learned, the others stay; [] is all of them"
    )


class NetworkConfig(Section):
    """The base networks that the rule trains; each task draws one."""

    hidden: Annotated[tuple[Annotated[tuple[Count, ...], Lax], ...], Field(strict=False, min_length=1)] = Field(
        default=((64, 64), (48,)),
        description="choices of hidden layer widths, bottom first; [] is a network of one layer",
    )
    outputs: Count = Field(
        default=32, description="units of the last layer, the features; with outer.objective=head as many as ways"
    )
    activations: Annotated[tuple[Annotated[str, one_of(*DIFFERENTIABLE)], ...], Field(strict=False, min_length=1)] = (
        Field(default=("relu",), description=f"choices of activation, of {', '.join(DIFFERENTIABLE)}")
    )
    kind: Annotated[str, one_of(*KINDS)] = Field(
        default="mlp", description="mlp, as the keys above say; or conv4, four blocks of convolution, as those below"
    )
    filters: Count = Field(default=32, description="channels of every block of a conv4")
    channels: Count = Field(default=1, description="colours of the images that a conv4 sees")
    pooling: Annotated[str, one_of(*POOLINGS)] = Field(
        default="stride", description="conv4: stride, with means over places as features; or max, with all places"
    )
    batch_norm: Annotated[str, one_of(*BATCH_NORMS)] = Field(
        default="batch",
        description="what normalises queries: batch, all that is read out at once; support, the support set alone; or, "
        "for protonet, running averages over meta-training, which itself goes by batch",
    )


class TasksConfig(Section):
    """What the rule learns to learn from."""

    sources: Sources = Field(
        default=("glyphs@train",),
        description="data SOURCEs that tasks are drawn from, equally often; one may come twice",
    )
    leave_out: Annotated[tuple[Text, ...], Lax] = Field(
        default=(), description="tables of a collection never to train on, by name"
    )
    size: Counts = Field(default=(14,), description="images are resized to size × size pixels; a list of choices")
    detail: Annotated[tuple[Count, ...], Lax, BeforeValidator(as_list)] = Field(
        default=(), description="also as images of so many pixels a side, enlarged again: smoother; a list of choices"
    )
    inputs: CountOrRange | None = Field(
        default=None, description="[fewest, most] inputs a task keeps, chosen at random; null keeps all"
    )
    ways: CountOrRange = Field(
        default=(10, 10), description="classes in a task; a number, or [fewest, most] of what the data has"
    )
    shots: CountOrRange = Field(
        default=(10, 10), description="labelled examples of each class for the readout; a number or [fewest, most]"
    )
    queries: Count = Field(default=10, description="examples of each class that the readout is judged on")
    batch: CountOrRange = Field(
        default=(64, 64), description="unlabelled examples in an inner step; a number or [fewest, most]"
    )
    permute: bool = Field(default=True, description="whether each task has a random order of the inputs")
    labeller: Annotated[str, one_of(*LABELLERS, *PSEUDO_LABELLERS), BeforeValidator(yaml_true)] = Field(
        default="true", description=f"where labels come from: {', '.join([*LABELLERS, *PSEUDO_LABELLERS])}"
    )
    augmentation: Annotated[Text, AfterValidator(_augmentation)] = Field(
        default="zero_pixels=0.5,shift=0.21", description="of the queries of labeller=instances, or identity"
    )
    redraw: Annotated[Text, AfterValidator(_augmentation)] = Field(
        default="identity", description="what changes an image of the training each time that it is drawn, or identity"
    )
    partitions: Count = Field(default=10, description="partitions of each data set by labeller=clusters or hyperplanes")
    groups: Annotated[int, Field(ge=2)] = Field(
        default=100, description="clusters in a partition; of hyperplanes, about as many cells"
    )
    encoder: Text = Field(
        default="inputs", description="what is partitioned: inputs, or the features of an encoder file or a rule"
    )

    @model_validator(mode="after")
    def _at_least_two(self) -> Self:
        for key in ("ways", "batch"):
            if min(getattr(self, key)) < 2:
                raise invalid(key, getattr(self, key), "2 or more")
        return self


class InnerConfig(Section):
    """The inner loop: how long the rule trains a base network."""

    unroll: Range = Field(default=(5, 10), description="[shortest, longest] truncation, in inner steps")
    length: Range = Field(default=(20, 60), description="[shortest, longest] whole trajectory, in inner steps")
    curriculum: Annotated[int, Field(ge=0)] = Field(
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

    @model_validator(mode="after")
    def _fit_into_each_other(self) -> Self:
        if self.unroll[1] > self.length[0]:
            raise invalid("unroll", self.unroll, f"truncations no longer than the shortest length, {self.length[0]}")
        if self.read_every > self.unroll[0]:
            raise invalid("read_every", self.read_every, f"at most the shortest unroll, {self.unroll[0]}")
        return self


class OuterConfig(Section):
    """The outer loop: how θ is improved."""

    tasks_per_step: Count = Field(default=8, description="tasks in an outer step")
    team: Count = Field(default=1, description="neighbouring tasks that share a shape and run as one batch")
    turns: Count = Field(
        default=1,
        description="sets of tasks_per_step tasks in flight, advanced in turn: more tasks behind θ in the same time",
    )
    average: Beta = Field(
        default=0.0, description="decay at each outer step of the moving average of θ that is kept; 0: θ itself"
    )
    learning_rate: Rate = Field(default=1e-3, description="Adam's rate after the warm-up")
    warmup: Annotated[int, Field(ge=0)] = Field(default=20, description="outer steps over which the rate rises from 0")
    final_learning_rate: NotNegative = Field(
        default=1e-4, description="the rate at the last outer step, reached on a cosine"
    )
    clip: Rate = Field(default=0.1, description="largest norm of the meta-gradient")
    objective: Annotated[str, one_of(*OBJECTIVES)] = Field(
        default="ridge", description="what reads networks out: ridge, the network's own head, or class prototypes"
    )
    penalty: Rate = Field(default=0.1, description="ridge penalty of the readout")
    first_order: Annotated[int, Field(ge=0)] = Field(
        default=0, description="outer steps at first in which rule maml leaves out second derivatives"
    )
    anneal_reads: Annotated[int, Field(ge=0)] = Field(
        default=0, description="outer steps over which the last readout of an unroll comes to count alone; 0: all alike"
    )
    betas: Annotated[tuple[Beta, Beta], Lax] = Field(default=(0.9, 0.999), description="Adam's decay rates")

    @model_validator(mode="after")
    def _rate_falls(self) -> Self:
        if self.final_learning_rate > self.learning_rate:
            raise invalid(
                "final_learning_rate", self.final_learning_rate, f"at most learning_rate, {self.learning_rate}"
            )
        return self


class EvaluationConfig(Section):
    """How the rule is watched on held-out sources."""

    every: Count = Field(default=50, description="outer steps between two evaluations")
    sources: Sources = Field(default=("glyphs@valid",), description="data SOURCEs that the rule must not train on")
    training: Annotated[tuple[Text, ...], Lax] | None = Field(
        default=None, description="data SOURCEs of the training that are evaluated too; null is all of tasks.sources"
    )
    tasks: Count = Field(default=8, description="tasks drawn from each source")
    steps: Count = Field(default=50, description="inner steps on each task")
    read_every: Count = Field(default=10, description="inner steps between two readouts")

    @model_validator(mode="after")
    def _read_within_steps(self) -> Self:
        if self.read_every > self.steps:
            raise invalid("read_every", self.read_every, f"at most evaluation.steps, {self.steps}")
        return self


class ReportConfig(Section):
    """What the finished rule is judged on, for the run's report."""

    sources: Sources = Field(default=("digits",), description="data SOURCEs of the report")
    tasks: Annotated[int, Field(ge=2)] = Field(default=100, description="paired tasks drawn from each source")
    steps: Count = Field(default=50, description="inner steps on each task")


class Config(Section):
    """All settings of a meta-training run."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = Field(default=0, description="decides every random draw of the run")
    run_dir: Text = Field(default="runs/default", description="folder of the run: config, metrics, checkpoints, report")
    outer_steps: Count = Field(default=300, description="outer steps in all")
    device: Annotated[str, StringConstraints(pattern=r"^(cpu|cuda(:\d+)?)$")] = Field(
        default="cpu", description="cpu, cuda or cuda:N"
    )
    matmul_precision: Literal["highest", "high", "medium"] = Field(
        default="highest",
        description="float32 products on a GPU: highest (float32), high (TF32) or medium (bfloat16 where supported)",
    )
    threads: Annotated[int, Field(ge=0)] = Field(default=1, description="CPU threads; 0 leaves PyTorch's own choice")
    tracking: Literal["auto", "online", "offline", "off"] = Field(
        default="auto",
        description="wandb: auto (online where a key is configured, else offline), online, offline or off",
    )
    checkpoint_every: Count = Field(default=25, description="outer steps between two checkpoints")
    keep: Annotated[int, Field(ge=0)] = Field(default=3, description="checkpoints kept besides the last and the best")
    rule: RuleConfig = RuleConfig()
    network: NetworkConfig = NetworkConfig()
    tasks: TasksConfig = TasksConfig()
    inner: InnerConfig = InnerConfig()
    outer: OuterConfig = OuterConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report: ReportConfig = ReportConfig()

    @model_validator(mode="after")
    def _rule_fits(self) -> Self:
        problems = list(rule_problems(self))
        if problems:
            raise ValidationError.from_exception_data("config", problems)
        return self
