"""By which examples features are normalised when a task is read out: one object, for every readout and rule.

``batch``: by all examples that are read out at once, so that a query's class depends on the other queries
(transductive, as MAML). ``support``: statistics frozen on the support set (inductive). ``unlabelled``: frozen on
unlabelled examples of the task, as evaluation of unsupervised rules does (inductive). ``running``: by the averages of
meta-training that a rule holds (inductive, as ProtoNets at test), which itself goes by the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from outer_loop.readouts.contract import Learned

NORMALISATIONS = ("batch", "support", "unlabelled", "running")


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
        if self.name == "support":  # the support set's own features are those of a batch
            of_support, of_query = learned.features_by(support, query)
            return of_support if needs_support else None, of_query
        statistics = None
        if self.name == "unlabelled":
            if unlabelled is None:
                raise ValueError("got no unlabelled examples here; set network.normalisation to batch or support")
            statistics = learned.statistics(unlabelled)
        elif self.name == "running":
            statistics = learned.running()
        if not needs_support:
            return None, learned.features(query, statistics)
        both = learned.features(torch.cat([support, query]), statistics)
        return both[: len(support)], both[len(support) :]

    def in_training(self) -> "Normalisation":
        """The same while θ is learned, when there are no averages of meta-training yet: these follow the batch."""
        return Normalisation("batch") if self.name == "running" else self
