"""Few-shot learners as the papers compare them: each is a whole way from a support set to the classes of queries.

A rule that learned a start brings its own readout; the others here are a classifier on fixed features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from common.tensor_file import file_header
from evaluation.adaptation import Adaptation
from evaluation.comparison import Measured, Progress, task_bytes, tasks_identity
from evaluation.evaluation import Judged, task_groups, untrained
from evaluation.paired_tasks import EPISODE, PairedTask
from evaluation.probes import few_shot_accuracy
from inner_loop.network_file import load_network
from tasks.encoders.encoder_file import FORMAT as ENCODER_FORMAT
from tasks.encoders.encoder_file import load_encoder
from tasks.task import Episode, TaskSource
from update_rules.contract import SUPPORT, Rule
from update_rules.gradient.learned_start import layout
from update_rules.gradient.protonet import ProtoNet

Embedding = Callable[[Tensor], Tensor]
"""Examples [n, D] give features [n, N], each from that example alone; never trained on an evaluation task."""


def load_embedding(path: str | Path) -> Embedding:
    """What the file at ``path`` embeds with: a convolutional encoder, or a base network written after its training.

    Raises OSError or ValueError as ``load_encoder`` and ``load_network`` do.
    """
    if file_header(path, "encoder").get("format") == ENCODER_FORMAT:
        return load_encoder(path).embed
    return load_network(path).embed


OWN_READOUT = "own"
"""What results call the readout of learners: each has its own."""

CLASSIFIERS = {"nearest": "nearest", "linear": "logistic", "prototypes": "prototype"}
"""Classifiers on fixed features, and what few_shot_readout calls them."""


MEANING = {
    "scratch": "the same network trained on the support set from a random start",
    "untrained_prototypes": "a random network with class means, without any training",
}


class Learner(Protocol):
    """A few-shot learner."""

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The inner steps after which it is judged; None for a learner that does not count steps."""
        ...

    def judge(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[Judged]:
        """Accuracies on the queries of ``episodes``, one for each of ``tasks``, at each of ``reads``."""
        ...


@dataclass(frozen=True)
class Adapted:
    """The base network after ``points`` inner steps (rising) of ``rule`` on the support set."""

    rule: Rule
    adaptation: Adaptation
    points: tuple[int, ...]

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The points, where there is something to adapt."""
        return self.points if self.adaptation.steps else (None,)

    def judge(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[Judged]:
        """A judgement at each of the points."""
        return self.adaptation.judge_episodes(self.rule, tasks, episodes, self.points)


@dataclass(frozen=True)
class OnFeatures:
    """The classifier ``readout`` of few_shot_readout on the features of a fixed ``embedding``."""

    embedding: Embedding
    readout: str
    reads: tuple[int | None, ...] = (None,)

    def judge(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[Judged]:
        """One judgement. Inputs are brought back to the order of the data, since an embedding knows no other."""
        accuracies, diverged = [], 0
        for task, episode in zip(tasks, episodes, strict=True):
            place = torch.argsort(task.task.permutation)
            support, query = (self.embedding(x[:, place]) for x in (episode.support_x, episode.query_x))
            diverged += not bool(support.isfinite().all() and query.isfinite().all())
            accuracies.append(few_shot_accuracy(support, episode.support_y, query, episode.query_y, self.readout))
        return [Judged(accuracies, diverged)]


def learner_names(rule: type[Rule], embeddings: Iterable[str] = ()) -> list[str]:
    """The names of what ``make_learners`` makes, in their order."""
    adapted = ["rule", *(["scratch"] if adapts(rule) else []), "untrained_prototypes"]
    return adapted + [f"{name}_{kind}" for name in ("raw", *embeddings) for kind in CLASSIFIERS]


def learner_meaning(name: str) -> str:
    """What the learner called ``name`` is, for a reader of a report."""
    if name in MEANING:
        return MEANING[name]
    features, _, kind = name.rpartition("_")
    what = {"nearest": "the class of the nearest support example", "linear": "logistic regression"}
    return f"{what.get(kind, 'the nearest class mean')} on {'the inputs' if features == 'raw' else features}"


def adapts(rule: type[Rule]) -> bool:
    """Whether the rule changes anything on a support set."""
    return any(view in SUPPORT for view in rule.consumes)


def make_learners(
    rule: Rule, adaptation: Adaptation, points: Sequence[int], embeddings: Mapping[str, Embedding]
) -> dict[str, Learner]:
    """The rule and its company by name: ``scratch`` and ``untrained_prototypes``, and classifiers on features.

    ``scratch`` is the same network adapted in the same way (the same rates, before their training) from a random start
    of each task's own. The network of ``untrained_prototypes`` is random, too, and read out by class means without any
    inner step. ``embeddings`` come besides the raw inputs. A rule that adapts to nothing has no scratch.
    """
    learners: dict[str, Learner] = {"rule": Adapted(rule, adaptation, tuple(points))}
    if adapts(type(rule)):
        learners["scratch"] = Adapted(untrained(rule), adaptation.from_random(), tuple(points))
    as_it_is = adaptation.prototypes()
    encoder = ProtoNet(layout(as_it_is.network.shapes), int(rule.config["seed"])).to(next(rule.parameters()).device)
    learners["untrained_prototypes"] = Adapted(encoder, as_it_is, (0,))
    for name, embedding in {"raw": torch.clone, **embeddings}.items():
        learners |= {f"{name}_{kind}": OnFeatures(embedding, readout) for kind, readout in CLASSIFIERS.items()}
    return learners


def compare_learners(
    learners: Mapping[str, Learner],
    source: TaskSource,
    *,
    shots: int,
    tasks: int,
    seed: int,
    progress: Progress | None = None,
) -> list[Measured]:
    """Accuracies of ``learners`` on the same ``tasks`` tasks of ``source``, each with ``shots`` labelled a class.

    The same arguments give the same numbers, and no global random state is read or changed. Raises ValueError as
    ``TaskSource`` and the learners do.
    """
    accuracies: dict[tuple[str, int | None], dict[int, float]] = {}
    diverged: dict[tuple[str, int | None], int] = {}
    drawn: dict[int, bytes] = {}
    for group in task_groups(source, tasks, seed):
        episodes = [task.task.episode(task.generator(EPISODE), shots) for task in group]
        drawn |= {task.index: task_bytes(task, episode) for task, episode in zip(group, episodes, strict=True)}
        for name, learner in learners.items():
            for steps, judged in zip(learner.reads, learner.judge(group, episodes), strict=True):
                place = (name, steps)
                diverged[place] = diverged.get(place, 0) + judged.diverged
                found = accuracies.setdefault(place, {})
                found |= {task.index: value for task, value in zip(group, judged.accuracies, strict=True)}
            if progress is not None:
                progress(len(group))
    identity = tasks_identity(source, shots, drawn)
    return [
        Measured(name, shots, OWN_READOUT, steps, identity, [found[i] for i in range(tasks)], diverged[name, steps])
        for (name, steps), found in accuracies.items()
    ]
