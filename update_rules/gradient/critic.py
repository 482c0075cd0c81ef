"""A learned loss of predictions: the critic of Antoniou and Storkey (2019), the same function for every class.

Theirs is a stack of convolutions over the classes in their order, which says nothing; here what is computed of a class
does not depend on its place, so that one critic serves any number of ways. It is a mean over the examples, not a sum,
so that their number does not matter. Shapes: Q query and S support examples, C classes, N features.
"""

from collections.abc import Mapping, Sequence
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.class_means import class_means
from update_rules.contract import SUPPORT, StepViews
from update_rules.gradient.losses import QUERIES, Seen, Unlabelled

CONDITIONS = ("predictions", "features", "task", "classes")
"""What a critic may see: predictions always, features of each example, the mean features of each class, and which class
it is, where that means the same in all tasks."""

PER_CLASS = 6
"""Numbers that describe what is predicted of one example and one class."""


class Critic(Unlabelled):
    """A network of two layers a class, whose mean over the classes goes through two more, and a mean over examples.

    It judges the view ``of``. ``sees`` are of CONDITIONS. ``features`` is N. Weights are drawn from ``seed``;
    ``frozen`` ones are not learned. One that sees ``classes`` knows ``ways`` of them. Raises ValueError for other
    conditions, and when it judges predictions of other ways than it knows.
    """

    w_out: Tensor

    def __init__(
        self,
        features: int,
        ways: int,
        seed: int = 0,
        sees: Sequence[str] = ("predictions",),
        hidden: int = 32,
        frozen: bool = False,
        of: str = QUERIES,
    ) -> None:
        super().__init__(of)
        if unknown := [name for name in sees if name not in CONDITIONS]:
            raise ValueError(f"got a critic that sees {', '.join(unknown)}, expected {', '.join(CONDITIONS)}")
        self.sees, self.ways = tuple(sees), ways
        self.reads = (SUPPORT[0], of) if "task" in sees else (of,)
        per_class = PER_CLASS + features * ("task" in sees) + ways * ("classes" in sees)
        per_example = hidden + features * ("features" in sees)
        shapes = {"in": (per_class, hidden), "class": (hidden, hidden), "example": (per_example, hidden)}
        shapes["out"] = (hidden, 1)
        draw = torch.Generator().manual_seed(seed)
        drawn = {f"w_{name}": torch.randn(shape, generator=draw) / shape[0] ** 0.5 for name, shape in shapes.items()}
        drawn |= {f"b_{name}": torch.zeros(shape[1]) for name, shape in shapes.items() if name != "out"}
        for name, value in drawn.items():
            if frozen:
                self.register_buffer(name, value)
            else:
                self.register_parameter(name, nn.Parameter(value))

    def forward(self, seen: Mapping[str, Seen], views: StepViews) -> Tensor:
        """A scalar: what the critic thinks of the predictions."""
        logits, features = seen[self.of]
        described = [describe_predictions(logits)]
        if "task" in self.sees:
            means = class_means(seen[SUPPORT[0]].features, views[SUPPORT[1]], logits.shape[1])
            described.append(means.expand(len(logits), *means.shape))
        if "classes" in self.sees:
            if logits.shape[1] != self.ways:
                raise ValueError(
                    f"got tasks of {logits.shape[1]} ways for a critic that tells {self.ways} classes apart; take "
                    "tasks of as many ways"
                )
            described.append(torch.eye(self.ways, dtype=logits.dtype, device=logits.device).expand(len(logits), -1, -1))
        hidden = self._layer("class", self._layer("in", torch.cat(described, -1))).mean(1)
        if "features" in self.sees:
            hidden = torch.cat([hidden, features], -1)
        return (self._layer("example", hidden) @ self.w_out).mean()

    def _layer(self, name: str, x: Tensor) -> Tensor:
        linear = x @ getattr(self, f"w_{name}") + getattr(self, f"b_{name}")
        return F.silu(linear)  # smooth, since the inner step is its derivative


def describe_predictions(logits: Tensor) -> Tensor:
    """Six numbers [Q, C, 6] of ``logits`` [Q, C]: logit, its size and square, probability, its mean, and entropy.

    Logits are taken from their mean over the classes; the mean probability of a class is that over the examples, the
    entropy that of the example, as a share of the largest.
    """
    centred = logits - logits.mean(1, keepdim=True)
    log_p = F.log_softmax(logits, 1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(1, keepdim=True) / log(logits.shape[1])
    numbers = (centred, centred.abs(), centred.square(), p, p.mean(0, keepdim=True), entropy)
    return torch.stack([number.expand_as(logits) for number in numbers], -1)
