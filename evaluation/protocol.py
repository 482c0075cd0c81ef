"""How a rule is put to use on evaluation tasks, and which tasks these are.

A rule sees the views that it consumes and nothing else, as in training. Features of an unsupervised rule are normalised
by statistics frozen on unlabelled examples of the task, so no query changes the features of another; its unlabelled
stream comes from the whole pool of a task, its queries included, without labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from evaluation.paired_tasks import PairedTask, paired_tasks
from inner_loop.inner_settings import InnerSettings, settings_of
from outer_loop.readouts.contract import Readout
from outer_loop.readouts.normalisation import NORMALISATIONS
from outer_loop.readouts.registry import READOUTS
from outer_loop.readouts.ridge import Ridge
from outer_loop.trajectories import problem_of
from tasks.source import TaskSource
from update_rules.contract import Problem, Rule
from update_rules.rule_file import RuleHeader

TASKS_AT_ONCE = 10
"""Tasks whose base networks are trained together, which bounds memory."""


@dataclass(frozen=True)
class Use(InnerSettings):
    """Which base network a rule trains and how, what normalises its features, and the readout that it was trained for.

    ``device``, None for the CPU, is where methods by gradient descent train; a rule does so where its weights are.
    """

    normalisation: str = "unlabelled"
    readout: Readout = field(default_factory=Ridge)
    size: int | None = None
    """The side of the images that it was trained with, where it needs just these."""
    permute: bool | None = None
    """Whether it was trained on inputs in another order in each task, where that matters."""
    device: torch.device | None = None

    @property
    def own(self) -> bool:
        """Whether the readout tells the classes of queries, and not the usual probes."""
        return self.readout.judges and type(self.readout).scores is not Readout.scores

    def classify(self, support: Tensor, classes: Tensor, query: Tensor) -> Tensor:
        """The classes [Q] that the readout gives queries, from features [S, N] of a support set and its ``classes``."""
        scores = self.readout.scores(support, classes, query, int(classes.max()) + 1)
        return scores.nan_to_num(nan=0.0).argmax(1)

    def problem(self, rule: Rule, task: PairedTask) -> Problem:
        """What ``rule`` knows of ``task``."""
        one = task.task
        return problem_of(
            one, self.base_network(one.inputs, one.ways if rule.gives == "logits" else 0), self.normalisation
        )


def use_of(header: RuleHeader | None, given: Mapping[str, Any]) -> Use:
    """How a rule is used: as ``given`` where that is not None, else as its file says, else as usual.

    ``given`` holds what ``settings_of`` takes, normalisation, size, device. Raises ValueError for what cannot be.
    """
    inner = settings_of(header, given)
    said = {} if header is None else header.use
    where = "" if header is None else f"{header.where}: "
    policy = given.get("normalisation") or said.get("normalisation", "unlabelled")
    readout, size = said.get("readout", {"name": "ridge", "options": {}}), said.get("size")
    permute = said.get("permute")
    right = policy in NORMALISATIONS and isinstance(readout, dict)
    if not right or type(size) not in (int, type(None)) or type(permute) not in (bool, type(None)):
        raise ValueError(
            f"{where}says that its rule is used with normalisation {policy!r}, readout {readout!r}, size {size!r} and "
            f"permute {permute!r}, expected one of {', '.join(NORMALISATIONS)}, a name with options, a whole number, "
            "true or false"
        )
    if header is not None:
        READOUTS.check_trust(str(readout.get("name")), header.trust, header.where)
    made, size = READOUTS.make(str(readout.get("name")), readout.get("options", {})), given.get("size") or size
    return Use(inner.network, inner.steps, inner.batch, policy, made, size, permute, given.get("device"))


def device_of(rule: Rule) -> torch.device:
    """Where the weights of ``rule`` are."""
    return next((parameter.device for parameter in rule.parameters()), torch.device("cpu"))


def read_points(steps: int, read_every: int) -> list[int]:
    """0, every ``read_every`` and the last of ``steps`` inner steps."""
    return sorted({*range(0, steps, read_every), steps})


def task_groups(source: TaskSource, tasks: int, seed: int, shots: tuple[int, ...] = ()) -> Iterator[list[PairedTask]]:
    """The tasks in groups of at most TASKS_AT_ONCE with inputs of one shape; no group outlives its turn."""
    every = paired_tasks(source, tasks, seed, shots)
    while some := list(islice(every, TASKS_AT_ONCE)):
        shapes = [(task.task.inputs, task.task.image_shape or ()) for task in some]
        for one in sorted(set(shapes)):
            yield [task for task, shape in zip(some, shapes, strict=True) if shape == one]


class Stream(Sequence[Tensor]):
    """The unlabelled batches [T, B, D] of T tasks at each of ``steps`` inner steps, each asked once, in turn."""

    def __init__(self, tasks: Sequence[PairedTask], batch: int, steps: int, device: torch.device) -> None:
        self.steps, self.batches = steps, zip(*(task.stream(batch, device) for task in tasks), strict=True)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: Any) -> Any:
        return torch.stack(next(self.batches))
