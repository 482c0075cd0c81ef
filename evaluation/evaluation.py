"""Few-shot evaluation of a rule on paired tasks.

A base network is embedded with batch-norm statistics frozen on unlabelled examples of the task, so no query changes the
features of another. The unlabelled stream comes from the whole pool of a task, its queries included, without labels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from torch import Tensor

from evaluation.method import Embed
from evaluation.paired_tasks import NETWORK, PairedTask, paired_tasks
from evaluation.probes import few_shot_accuracy
from inner_loop.apply import apply_rule_to_tasks
from inner_loop.inner_settings import InnerSettings
from inner_loop.networks.mlp import MLP
from inner_loop.state import finite_tasks, stack_states, unstack_state
from tasks.task import TaskSource
from update_rules.contract import Rule, State

TASKS_AT_ONCE = 10
"""Tasks whose base networks are trained together, which bounds memory."""

Progress = Callable[[int], None]
"""Called with a number of tasks just done by one method."""


@dataclass(frozen=True)
class Judged:
    """Accuracies of some tasks after a number of inner steps, and how many of their networks are not finite."""

    accuracies: list[float]
    diverged: int


class Use(Protocol):
    """What a rule does on an evaluation task, and how what comes of it is read out."""

    @property
    def steps(self) -> int:
        """Inner steps in all."""
        ...

    def judge(self, rule: Rule, group: Sequence[PairedTask], points: Sequence[int]) -> list[Judged]:
        """The tasks of ``group``, of equally wide inputs, after each of ``points`` inner steps."""
        ...


@dataclass(frozen=True)
class InnerTraining(InnerSettings):
    """Which base network a rule trains, and how.

    ``device``, None for the CPU, is where methods by gradient descent train it; a rule does so where its weights are.
    """

    device: torch.device | None = None

    def judge(self, rule: Rule, group: Sequence[PairedTask], points: Sequence[int]) -> list[Judged]:
        """Trains on the unlabelled stream; features are read out by ridge, normalised by unlabelled examples."""
        network = base_network(group[0], self)
        judged = []
        for stacked in train_networks(rule, network, group, self.batch, points):
            states = unstack_state(stacked)
            accuracies = [_network_accuracy(network, *pair) for pair in zip(states, group, strict=True)]
            judged.append(Judged(accuracies, int((~finite_tasks(stacked)).sum())))
        return judged


@dataclass(frozen=True)
class StepAccuracies:
    """Accuracies of each task by inner step, and how many tasks ended with a network that is not finite."""

    by_step: dict[int, list[float]]
    diverged: int


def untrained(rule: Rule) -> Rule:
    """The same rule at its initial θ, on the same device."""
    return type(rule)(**rule.config).to(_device(rule))


def base_network(task: PairedTask, inner: InnerTraining) -> MLP:
    """The base network that ``inner`` states, for the inputs of ``task``."""
    return MLP((task.task.inputs, *inner.hidden, inner.outputs), inner.activation)


def train_task(rule: Rule, task: PairedTask, inner: InnerTraining, points: Sequence[int]) -> list[State]:
    """The States of the base network of ``task`` after each of ``points`` inner steps, on the CPU."""
    reads = train_networks(rule, base_network(task, inner), [task], inner.batch, points)
    return [unstack_state(read)[0] for read in reads]


def measure_rule(
    rule: Rule,
    source: TaskSource,
    inner: Use,
    *,
    read_points: Sequence[int],
    tasks: int,
    seed: int,
    progress: Progress | None = None,
) -> StepAccuracies:
    """Few-shot accuracy of the base network after each of ``read_points`` inner steps, task by task.

    The same arguments give the same numbers; no global random state is read or changed. A network that is not finite
    counts as a guess. Raises ValueError as ``apply_rule_to_tasks``, ``MLP`` and ``TaskSource`` do.
    """
    by_step: dict[int, list[float]] = {point: [0.0] * tasks for point in read_points}
    diverged = 0
    for group in task_groups(source, tasks, seed):
        judged = inner.judge(rule, group, read_points)
        diverged += judged[-1].diverged
        for point, found in zip(read_points, judged, strict=True):
            for task, accuracy in zip(group, found.accuracies, strict=True):
                by_step[point][task.index] = accuracy
        if progress is not None:
            progress(len(group))
    return StepAccuracies(by_step, diverged)


def evaluate_rule(
    rule: Rule, source: TaskSource, inner: Use, *, read_every: int, tasks: int, seed: int
) -> dict[int, float]:
    """Mean few-shot accuracy over ``tasks`` tasks after 0, every ``read_every`` and all inner steps."""
    points = read_points(inner.steps, read_every)
    measured = measure_rule(rule, source, inner, read_points=points, tasks=tasks, seed=seed)
    return {point: sum(values) / len(values) for point, values in measured.by_step.items()}


def read_points(steps: int, read_every: int) -> list[int]:
    """0, every ``read_every`` and the last of ``steps`` inner steps."""
    return sorted({*range(0, steps, read_every), steps})


def task_groups(source: TaskSource, tasks: int, seed: int) -> Iterator[list[PairedTask]]:
    """The tasks in groups of at most TASKS_AT_ONCE with equally wide inputs; no group outlives its turn."""
    every = paired_tasks(source, tasks, seed)
    while some := list(islice(every, TASKS_AT_ONCE)):
        for width in sorted({task.task.inputs for task in some}):
            yield [task for task in some if task.task.inputs == width]


def train_networks(
    rule: Rule, network: MLP, group: Sequence[PairedTask], batch: int, points: Sequence[int]
) -> list[State]:
    """The stacked States [T, ...] of the tasks' base networks after each of ``points`` inner steps, on the CPU."""
    device = _device(rule)
    start = stack_states([rule.init_state(network, task.generator(NETWORK)) for task in group])
    streams = [task.stream(batch, device) for task in group]
    batches = (torch.stack(step) for step in islice(zip(*streams, strict=True), points[-1]))
    state = {name: value.to(device) for name, value in start.items()}
    reads = apply_rule_to_tasks(rule, network, state, batches, read_points=points)
    return [{name: value.cpu() for name, value in read.items()} for read in reads]


def frozen_embedding(network: MLP, state: State, task: PairedTask, *, linear: bool = False) -> Embed:
    """The outputs of a base network with batch-norm statistics frozen on the task's unlabelled examples.

    With ``linear`` they are those before the last activation.
    """
    with torch.no_grad():
        statistics = network.statistics(state, task.unlabelled)

    def embed(x: Tensor) -> Tensor:
        with torch.no_grad():
            seen = network.forward(state, x, statistics=statistics)
        return seen.z[-1] if linear else seen.x[-1]

    return embed


def _network_accuracy(network: MLP, state: State, task: PairedTask) -> float:
    """Few-shot accuracy of one base network, embedded with frozen statistics."""
    embed, episode = frozen_embedding(network, state, task), task.episode
    return few_shot_accuracy(embed(episode.support_x), episode.support_y, embed(episode.query_x), episode.query_y)


def _device(rule: Rule) -> torch.device:
    return next((parameter.device for parameter in rule.parameters()), torch.device("cpu"))
