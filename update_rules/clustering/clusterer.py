"""What rules that cluster a whole set have in common.

Shapes: Q points of a set and their M pairs, D inputs, F relations of a pair, P of a point.
"""

import math

import torch
from torch import Generator, Tensor

from update_rules.clustering.partition import partition
from update_rules.clustering.relations import place_of, relations
from update_rules.contract import Problem, Rule, State

TOLD = 2
"""Numbers that tell of the number of clusters: whether it is known, and its logarithm."""


class Clusterer(Rule):
    """A rule whose State is about the points of a set, which it sees all at once, and that trains no network.

    ``outputs`` are logits that two points belong together, [Q, Q], unless a subclass has a ``partition`` of its own.
    """

    consumes = ("query_x",)
    gives = "pairs"
    layers = frozenset({"none"})
    normalisations = frozenset({"batch"})
    batching = "loop"
    compiles = False

    def partition(self, problem: Problem, state: State) -> Tensor:
        """The partition that fits the chances best, of ``problem.ways`` clusters or as many as do."""
        chances = torch.sigmoid(self.outputs(problem, state)).double().cpu().numpy()
        return torch.from_numpy(partition(chances, problem.ways))


class PairClusterer(Clusterer):
    """One whose State is a logit for each of the M pairs of points, whatever the order of these."""

    equivariant = frozenset({"examples"})

    def init_state(self, problem: Problem, generator: Generator) -> State:
        """Logits of 0."""
        points = points_of(problem)
        return {"logits": torch.zeros(points * (points - 1) // 2)}

    def outputs(self, problem: Problem, state: State) -> Tensor:
        """The logits [Q, Q] that two points belong together; 0 for a point and itself."""
        place = torch.from_numpy(place_of(points_of(problem))).to(state["logits"].device)
        logits = torch.cat([state["logits"], state["logits"].new_zeros(1)])
        return logits[place]


def points_of(problem: Problem) -> int:
    """Q, the rows of ``query_x``. Raises ValueError where nobody has said."""
    for name, shape in problem.views:
        if name == "query_x":
            return shape[0]
    raise ValueError("got tasks without whole sets, expected tasks.points for a rule that clusters")


def relations_of(problem: Problem, x: Tensor) -> tuple[Tensor, Tensor]:
    """The ``relations`` of the points ``x`` [Q, D]: of pairs [M, F] and of points [Q, P], of the type of ``x``."""
    found = relations(x.detach().double().cpu().numpy(), problem.ways)
    return torch.from_numpy(found.pairs).to(x), torch.from_numpy(found.points).to(x)


def told(problem: Problem, x: Tensor) -> Tensor:
    """What a network is told of the number of clusters, [TOLD], of the type of ``x``."""
    return x.new_tensor([float(problem.ways > 0), math.log(max(problem.ways, 1)) / 2])
