"""Contract 4: what a readout promises, and how it reads a rule's State of one task.

A readout sees features (or logits) of a support and a query set, never a State. Query labels enter here and nowhere
else. Shapes: S support and Q query examples, N features, C ways.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from tasks.task import Episode
from update_rules.contract import Problem, Rule, State, Statistics, Theta


class Reading(NamedTuple):
    """Loss and accuracy on the queries of one task, scalars."""

    loss: Tensor
    accuracy: Tensor


class Readout:
    """How features are judged. Pure, mostly differentiable in the features, and fit for ``torch.func.vmap``."""

    reads: ClassVar[str] = "features"
    """What it reads of those that a rule ``gives``."""
    differentiable: ClassVar[bool] = True
    """Whether a gradient goes through its loss."""
    needs_support: ClassVar[bool] = True
    """Whether it looks at the features of the support set."""
    judges: ClassVar[bool] = True
    """Whether rules trained with it are judged by its ``scores``, if it has any, and not by the usual probes."""

    def read(self, support: Tensor | None, y_support: Tensor, query: Tensor, y_query: Tensor, ways: int) -> Reading:
        """Loss and accuracy of one task, from features [S, N] (None where not needed) and [Q, N] and classes.

        Of whole sets ``query`` are a rule's outputs, and ``y_query`` is -1 where an example is of no class.

        Here mean cross-entropy and share of queries whose class has the highest of the ``scores``.
        """
        scores = self.scores(support, y_support, query, ways)
        right = (scores.argmax(1) == y_query).to(scores.dtype)
        return Reading(F.cross_entropy(scores, y_query), right.mean())

    def each(self, query: Tensor, y_query: Tensor) -> Tensor:
        """Of a readout of choices: the score [A] of each, from outputs [A, 1 + Q] and classes [Q]."""
        raise NotImplementedError

    def scores(self, support: Tensor | None, y_support: Tensor, query: Tensor, ways: int) -> Tensor:
        """What speaks for each class, [Q, C], of queries of unknown classes. Raises ValueError where there is none."""
        name = type(self).__name__
        raise ValueError(f"readout {name} cannot score queries without their classes, since it defines no scores")


@dataclass(frozen=True)
class Learned:
    """What a rule has made of one task, as readouts see it: features of examples, and what normalises them."""

    rule: Rule
    theta: Theta
    problem: Problem
    state: State

    def features(self, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """The features [B, N] of ``x`` [B, D], normalised by this batch or by ``statistics``."""
        return cast(Tensor, self._call("features", self.problem, self.state, x, statistics))

    def outputs(self) -> Tensor:
        """What the State says of the rows of ``query_x``."""
        return cast(Tensor, self._call("outputs", self.problem, self.state))

    def statistics(self, x: Tensor) -> Statistics:
        """What ``x`` [B, D] gives to normalise others by."""
        return cast(Statistics, self._call("statistics", self.problem, self.state, x))

    def features_by(self, on: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features [B', N] of ``on`` [B', D] and [B, N] of ``x`` [B, D], all by the statistics of ``on``."""
        return cast(tuple[Tensor, Tensor], self._call("features_by", self.problem, self.state, on, x))

    def running(self) -> Statistics:
        """The statistics of meta-training."""
        return cast(Statistics, self._call("running"))

    def pictures(self) -> Tensor | None:
        """What some units have learned to look for, as weights [N, D] of the inputs; None for nothing to show."""
        return cast("Tensor | None", self._call("pictures", self.problem, self.state))

    def _call(self, *arguments: Any) -> Any:
        return functional_call(self.rule, dict(self.theta), arguments)


def stacked_episodes(episodes: list[Episode]) -> Episode:
    """The episodes of T tasks as one with a leading T in every tensor."""
    return Episode(*(torch.stack(part) for part in zip(*episodes, strict=True)))
