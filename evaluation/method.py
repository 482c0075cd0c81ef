"""What a comparison asks of a method: something learned of each task from what the task allows it to see."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN, Classify, as_classifier
from tasks.task import Episode

Embed = Callable[[Tensor], Tensor]
"""Examples of one task [n, D] give features [n, N], each on its own."""


class Fitted:
    """What a method made of one task: a way to the features of its examples."""

    def features(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """The features [S, N] and [Q, N] of ``support`` [S, D] and ``query`` [Q, D], on the CPU."""
        raise NotImplementedError


@dataclass(frozen=True)
class Embedding(Fitted):
    """Features of each example by itself."""

    embed: Embed

    def features(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Both from one call."""
        both = self.embed(torch.cat([support, query]))
        return both[: len(support)], both[len(support) :]


class Method:
    """A way to features. Its ``fit`` is pure: randomness comes from the tasks' own generators alone."""

    uses_episodes: ClassVar[bool] = False
    """Whether ``fit`` looks at episodes, and must be called anew where these change."""

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The inner steps after which features are read out; None for a method that does not count steps."""
        return (None,)

    def classifier(self, readout: str) -> Classify | None:
        """What tells classes from the features where ``readout`` reads them; None for one that cannot.

        By default every probe can, and there is no readout of the method's own.
        """
        return None if readout == OWN else as_classifier(readout)

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """For each of ``reads`` what was made of each of ``tasks``, which have inputs of one shape.

        ``episodes``, one a task, are of equal size. Only a method with ``uses_episodes`` may look at them, and none at
        the classes of their queries.
        """
        raise NotImplementedError


def embeddings(found: Sequence[Embed]) -> list[Fitted]:
    """Each of ``found`` as what was made of its task."""
    return [Embedding(embed) for embed in found]
