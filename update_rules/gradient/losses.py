"""Losses that inner steps descend along, as components: of labels where a task has them, and of predictions alone.

A loss sees what the network makes of some examples and the views of its step, never a State. Means over examples, so
that rates do not depend on how many there are. Shapes: B examples, C classes, N features, S support examples.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from update_rules.contract import SUPPORT, StepViews

QUERIES = "query_x"
"""The view of the examples that are to be classified: their labels are in no view."""

UNLABELLED_SET = "unlabelled_set"
"""The view of further examples without labels."""


class Seen(NamedTuple):
    """What a network makes of B examples."""

    logits: Tensor
    """[B, C]."""
    features: Tensor
    """The layer below the head, [B, N]."""


class Loss(nn.Module):
    """A scalar that gradient descent lowers. Its parameters, if any, are a part of θ."""

    reads: tuple[str, ...]
    """The views of examples whose ``Seen`` it needs."""

    def forward(self, seen: Mapping[str, Seen], views: StepViews) -> Tensor:
        """The loss, a scalar, given what the network makes of each of the views that it ``reads``."""
        raise NotImplementedError(f"loss {type(self).__name__} defines no forward, which every loss does")


class CrossEntropy(Loss):
    """The mean cross-entropy of the support examples."""

    reads = SUPPORT[:1]

    def forward(self, seen: Mapping[str, Seen], views: StepViews) -> Tensor:
        """A scalar."""
        x, y = SUPPORT
        return F.cross_entropy(seen[x].logits, views[y])


class Unlabelled(Loss):
    """A loss of what is predicted of the view ``of``."""

    def __init__(self, of: str = QUERIES) -> None:
        super().__init__()
        self.of = of
        self.reads = (of,)


class Entropy(Unlabelled):
    """The mean entropy of the predictions, which makes them surer (Grandvalet and Bengio, 2005)."""

    def forward(self, seen: Mapping[str, Seen], views: StepViews) -> Tensor:
        """A scalar, in nats."""
        log_p = F.log_softmax(seen[self.of].logits, 1)
        return -(log_p.exp() * log_p).sum(1).mean()


class PseudoLabels(Unlabelled):
    """The mean cross-entropy against the likeliest class of each example (Lee, 2013)."""

    def forward(self, seen: Mapping[str, Seen], views: StepViews) -> Tensor:
        """A scalar."""
        logits = seen[self.of].logits
        return F.cross_entropy(logits, logits.detach().argmax(1))
