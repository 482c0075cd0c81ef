"""What a comparison asks of a method: something learned of each task from what the task allows it to see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN, Classify, as_classifier
from tasks.task import Episode

Embed = Callable[[Tensor], Tensor]
"""Examples of one task [n, D] give features [n, N], each on its own."""


Fitted = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""What a method made of one task: a support set [S, D] and queries [Q, D] give their features [S, N] and [Q, N], on the
CPU."""


class Method:
    """A way to features. Its ``fit`` is pure: randomness comes from the tasks' own generators alone."""

    uses_episodes: ClassVar[bool] = False
    """Whether ``fit`` looks at episodes, and must be called anew where these change."""

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The inner steps after which features are read out; None for a method that does not count steps."""
        return (None,)

    def classifier(self, readout: str) -> Classify | None:
        """What ``readout`` tells classes with; None for one that cannot: by default every probe can, and OWN cannot."""
        return None if readout == OWN else as_classifier(readout)

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """For each of ``reads`` what was made of each of ``tasks``, which have inputs of one shape.

        ``episodes``, one a task, are of equal size. Only a method with ``uses_episodes`` may look at them, and none at
        the classes of their queries.
        """
        raise NotImplementedError


def embeddings(found: Sequence[Embed]) -> list[Fitted]:
    """Each of ``found`` as what was made of its task."""
    return [partial(_both, embed) for embed in found]


def _both(embed: Embed, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
    both = embed(torch.cat([support, query]))
    return both[: len(support)], both[len(support) :]


@dataclass(frozen=True)
class TaskByTask(Method):
    """A method without steps that makes an ``embedding`` of one task after the other, and looks at no labels."""

    embedding: Callable[[PairedTask], Embed]

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """One read."""
        return [embeddings([self.embedding(task) for task in tasks])]
