"""By which examples features are normalised when a task is read out: one object, for every readout and rule.

``batch``: by all examples that are read out at once, so that a query's class depends on the other queries
(transductive, as MAML). ``support``: statistics frozen on the support set (inductive). ``unlabelled``: frozen on
unlabelled examples of the task, as evaluation of unsupervised rules does (inductive). ``running``: by the averages of
meta-training that a rule holds (inductive, as ProtoNets at test), which itself goes by the batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from outer_loop.readouts.contract import Learned
from update_rules.contract import Statistics

Freeze = Callable[[Learned, Tensor | None], Statistics]
"""From what was learned and unlabelled examples: the statistics that all others are normalised by."""


def _by_unlabelled(learned: Learned, unlabelled: Tensor | None) -> Statistics:
    if unlabelled is None:
        raise ValueError("got no unlabelled examples to normalise by; set network.normalisation to batch or support")
    return learned.statistics(unlabelled)


FROZEN: dict[str, Freeze] = {
    "unlabelled": _by_unlabelled,
    "running": lambda learned, unlabelled: learned.running(),
}
"""The policies that freeze the same statistics for support and queries."""

NORMALISATIONS = ("batch", "support", *FROZEN)


@dataclass(frozen=True)
class Normalisation:
    """One policy, a name in NORMALISATIONS."""

    name: str = "batch"

    def features(
        self, learned: Learned, support: Tensor, query: Tensor, unlabelled: Tensor | None, needs_support: bool
    ) -> tuple[Tensor | None, Tensor]:
        """Features [S, N] of ``support`` [S, D], None where nobody needs them, and [Q, N] of ``query`` [Q, D].

        ``unlabelled`` [B, D] are examples of the task. Raises ValueError where a policy lacks what it freezes on.
        """
        if self.name == "batch":
            if not needs_support:
                return None, learned.features(query)
            both = learned.features(torch.cat([support, query]))
            return both[: support.shape[0]], both[support.shape[0] :]
        if self.name == "support":  # the support set's own features are those of a batch
            of_support = learned.features(support) if needs_support else None
            return of_support, learned.features_by(support, query)
        frozen = FROZEN[self.name](learned, unlabelled)
        if not needs_support:
            return None, learned.features(query, frozen)
        both = learned.features(torch.cat([support, query]), frozen)
        return both[: support.shape[0]], both[support.shape[0] :]

    def in_training(self) -> "Normalisation":
        """The same while θ is learned, when there are no averages of meta-training yet: these follow the batch."""
        return Normalisation("batch") if self.name == "running" else self
