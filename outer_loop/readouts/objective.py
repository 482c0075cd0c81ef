"""What a meta-objective makes of a network in the middle or at the end of its training: a readout, a loss, an accuracy.

Shapes: S support and Q query examples, N features, C ways.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, vmap

from inner_loop.unroll import Theta
from outer_loop.readouts.metz_objective import metz_objective
from tasks.task import Episode
from update_rules.contract import Network, Rule, State

OBJECTIVES = ("ridge", "head", "prototypes")
BATCH_NORMS = ("batch", "support", "running")


class Reading(NamedTuple):
    """Loss and accuracy on the queries of one task, scalars."""

    loss: Tensor
    accuracy: Tensor


def score_reading(scores: Tensor, y: Tensor) -> Reading:
    """Mean cross-entropy of ``scores`` [Q, C] for the classes ``y`` [Q], and how many of these score highest."""
    return Reading(F.cross_entropy(scores, y), (scores.argmax(1) == y).to(scores.dtype).mean())


def prototype_scores(support: Tensor, y_support: Tensor, query: Tensor, ways: int) -> Tensor:
    """Minus the squared Euclidean distances [Q, C] of the queries to the means of the classes.

    From features [S, N] and [Q, N]; Snell et al. (2017), algorithm 1, temperature 1.
    """
    members = (y_support[:, None] == torch.arange(ways, device=y_support.device)).to(support.dtype)
    means = members.mT @ support / members.sum(0)[:, None]
    return -((query[:, None] - means) ** 2).sum(-1)


@dataclass(frozen=True)
class Objective:
    """How networks are read out, and by which examples they are normalised then.

    ``name``: ``ridge``, the objective of Metz et al. (2019) with ``penalty``; ``head``, the cross-entropy of the
    network's own logits; or ``prototypes``. ``batch_norm``: by ``batch``, all examples that are read out at once, so
    that a query's class depends on the other queries (transductive, as MAML); by ``support``, with statistics frozen
    on the support set (inductive); or by the ``running`` averages that rule protonet holds (inductive, as ProtoNets at
    test), which follow a training that goes by ``batch``.
    """

    name: str = "ridge"
    penalty: float = 0.1
    batch_norm: str = "batch"

    def without_averages(self, instead: str) -> "Objective":
        """The same where there are no running averages, by the policy ``instead``; unchanged if it goes by others."""
        return replace(self, batch_norm=instead) if self.batch_norm == "running" else self

    def read(self, rule: Rule, theta: Theta, network: Network, state: State, episode: Episode, ways: int) -> Reading:
        """The reading of one task; works under ``torch.func.vmap`` and is differentiable in ``theta`` and ``state``."""
        support, y_support, query, y_query = episode
        if self.name != "ridge":
            return score_reading(self.scores(rule, theta, network, state, episode[:3], ways), y_query)
        of_support, of_query = self._features(rule, theta, network, state, support, query)
        found = metz_objective(of_support, y_support, of_query, y_query, ways, self.penalty)
        return Reading(found.loss, found.accuracy_query)

    def scores(
        self,
        rule: Rule,
        theta: Theta,
        network: Network,
        state: State,
        seen: tuple[Tensor, Tensor, Tensor],
        ways: int,
    ) -> Tensor:
        """What speaks for each class, [Q, C], of the queries in ``seen``, which are support, its classes and queries.

        Raises ValueError for ``ridge``, whose readout has no place for new queries.
        """
        if self.name == "ridge":
            raise ValueError("got objective ridge, expected head or prototypes to score queries without their classes")
        support, y_support, query = seen
        if self.name == "head":
            frozen_on = [support] if self.batch_norm == "support" else []
            found: Tensor = functional_call(rule, dict(theta), ("features", network, state, query, *frozen_on))
            return found
        of_support, of_query = self._features(rule, theta, network, state, support, query)
        return prototype_scores(of_support, y_support, of_query, ways)

    def _features(
        self, rule: Rule, theta: Theta, network: Network, state: State, support: Tensor, query: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The features of support and query."""

        def features(*arguments: Tensor) -> Tensor:
            found: Tensor = functional_call(rule, dict(theta), ("features", network, state, *arguments))
            return found

        if self.batch_norm == "support":
            return features(support), features(query, support)
        both = torch.cat([support, query])
        if self.batch_norm == "running":
            both = functional_call(rule, dict(theta), ("averaged_features", network, both))
        else:
            both = features(both)
        return both[: support.shape[0]], both[support.shape[0] :]

    def read_tasks(
        self, rule: Rule, theta: Theta, network: Network, state: State, episodes: Episode, ways: int
    ) -> Reading:
        """The readings [T] of T tasks at once, with a leading T in every tensor of ``state`` and ``episodes``."""

        def read(state: State, episode: Episode) -> Reading:
            return self.read(rule, theta, network, state, episode, ways)

        return vmap(read)(state, episodes)


RIDGE = Objective()
"""The original one."""
