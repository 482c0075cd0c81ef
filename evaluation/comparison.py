"""Few-shot accuracy of several methods on the same tasks, by labelled examples, readout and inner steps."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evaluation.method import Fitted, Method
from evaluation.paired_tasks import EPISODE, PairedTask
from evaluation.probes import READOUT, accuracy
from evaluation.protocol import task_groups
from tasks.source import TaskSource
from tasks.task import Episode

TasksDone = Callable[[int, str], None]
"""Called with a number of tasks just done by one method."""


@dataclass(frozen=True)
class Measured:
    """Accuracies of one method, one a task, and what identifies the tasks."""

    method: str
    shots: int
    readout: str
    steps: int | None
    """Inner steps taken, or None for a method that takes none."""
    drawn: str
    """SHA-256, shortened, over the data and everything drawn for the tasks: equal for equal tasks alone."""
    accuracies: list[float]
    diverged: int
    """Tasks with features that are not finite."""


def compare(
    methods: Mapping[str, Method],
    source: TaskSource,
    *,
    shots: Sequence[int],
    readouts: Sequence[str] = (READOUT,),
    tasks: int,
    seed: int,
    early: Sequence[str] | None = None,
    progress: TasksDone | None = None,
) -> list[Measured]:
    """Accuracies of ``methods`` on ``tasks`` tasks of ``source``, for each of ``shots`` and ``readouts``.

    A method is fitted once a task, or once for each number of shots where it uses episodes. ``own`` among the readouts
    is the one that a method brings; a method is left out where a readout cannot read it. Before a method's last read
    those ``early`` alone read it, where they are given. An episode of s shots is the one that a source of s shots
    gives, as long as every class has the examples that the largest of ``shots`` takes. The same arguments give the same
    numbers, and no global random state is read or changed. Raises ValueError as ``TaskSource`` does.
    """
    accuracies: dict[tuple[str, int, str, int | None], dict[int, float]] = {}
    diverged: Counter[tuple[str, int, str, int | None]] = Counter()
    drawn: dict[int, dict[int, bytes]] = {count: {} for count in shots}
    for group in task_groups(source, tasks, seed, tuple(shots)):
        episodes = {count: [task.task.episode(task.generator(EPISODE), count) for task in group] for count in shots}
        for count, some in episodes.items():
            drawn[count] |= {task.index: task_bytes(task, episode) for task, episode in zip(group, some, strict=True)}
        for name, method in methods.items():
            classifiers = {one: found for one in readouts if (found := method.classifier(one)) is not None}
            reads: list[list[Fitted]] | None = None
            for count in shots if classifiers else ():
                if reads is None or method.uses_episodes:
                    reads = method.fit(group, episodes[count])
                for place, (steps, every) in enumerate(zip(method.reads, reads, strict=True), 1):
                    last = early is None or place == len(reads)
                    reading = classifiers if last else {one: classifiers[one] for one in early or ()}
                    for task, fitted, episode in zip(group, every, episodes[count], strict=True):
                        support, query = fitted(episode.support_x, episode.query_x)
                        finite = bool(support.isfinite().all() and query.isfinite().all())
                        for readout, classify in reading.items():
                            what = (name, count, readout, steps)
                            diverged[what] += not finite
                            right = accuracy(classify, support, episode.support_y, query, episode.query_y)
                            accuracies.setdefault(what, {})[task.index] = right
            if progress is not None:
                progress(len(group), name)
    identities = {count: tasks_identity(source, count, some) for count, some in drawn.items()}
    return [
        Measured(*what, identities[what[1]], [found[index] for index in range(tasks)], diverged[what])
        for what, found in accuracies.items()
    ]


def tasks_identity(source: TaskSource, shots: int, drawn: Mapping[int, bytes]) -> str:
    """What ``Measured.drawn`` says of tasks of ``shots`` shots of ``source``, given ``task_bytes`` by their index."""
    data = " ".join(dataset.fingerprint for dataset in source.datasets)
    about = f"{data} {source.ways} {shots} {source.queries} {source.permute} {source.labeller.settings}"
    if source.redraw != "identity":  # images as they are keep the identity that stored results give them
        about += f" {source.redraw}"
    if not source.transductive:  # the same
        about += " not transductive"
    digest = hashlib.sha256(about.encode())
    for index in range(len(drawn)):
        digest.update(drawn[index])
    return digest.hexdigest()[:16]


def task_bytes(task: PairedTask, episode: Episode) -> bytes:
    """What was drawn for ``task`` and ``episode``, as bytes."""
    numbers = [task.task.classes, task.task.permutation, task.task.pool, episode.support_y, episode.query_y]
    if task.shots not in ((), (task.task.shots,)) and not task.task.transductive:  # other queries are left out
        numbers.append(task.task.seen)
    return b"".join(tensor.numpy().tobytes() for tensor in numbers)
