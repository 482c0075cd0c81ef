"""``recurrent_clusterer``: a recurrent network reads the points of a set one by one and says which cluster each is in.

Shapes: Q points of a set, D inputs, A axes, C places for clusters, H units.
"""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from common.checked import Count
from update_rules.clustering.clusterer import TOLD, Clusterer, points_of, told
from update_rules.clustering.points import Points, own_order, scaled
from update_rules.clustering.relations import LEAST, POINTS, point_relations
from update_rules.contract import Problem, State, StepViews

NOT = -1e4
"""The logit of a place beyond the number of clusters that is told."""

SURE = 1e-4
"""The least chance that two points are together or apart."""


class RecurrentClusterer(Clusterer):
    """Meta-learning to cluster as Jiang and Verma (2019) do: a recurrent network, whose last answer is fed back.

    An inner step is a pass over the points. In the paper their order is random, and counts. Here each point is followed
    by the unread one that is nearest to any that was read: a dense cluster is read as a whole, in whatever order points
    came. The network sees a point by its place on the set's principal axes, how far its neighbours are and how far
    it was from those read, beside what it said of the point before and of this one in the last pass. It gives the point
    a share in each of ``places`` clusters. Two points are together with the chance that their shares agree.
    """

    name = "recurrent_clusterer"
    equivariant = frozenset({"examples"})

    def __init__(self, units: Count = 96, axes: Count = 6, places: Count = 20, seed: int = 0) -> None:
        super().__init__()
        self.units, self.axes, self.places = units, axes, places
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cell = nn.LSTMCell(axes + POINTS + 1 + TOLD + 2 * places, units)
            self.says = nn.Linear(units, places)

    def init_state(self, problem: Problem, generator: Generator) -> State:
        """Nothing said yet."""
        return {
            "shares": torch.zeros(points_of(problem), self.places),
            "hidden": torch.zeros(1, self.units),
            "cell": torch.zeros(1, self.units),
        }

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The shares of every point after one more pass."""
        x = views["query_x"]
        plain = x.detach().double().cpu().numpy()
        of_points = torch.from_numpy(point_relations(plain)).to(x)
        on_axes = principal(plain, self.axes)
        order, away = reading(plain, on_axes[:, 0])
        seen = torch.cat([torch.from_numpy(np.column_stack([on_axes, away])).to(x), of_points], 1)
        clusters = told(problem, x)
        beyond = x.new_zeros(self.places)
        if problem.ways:
            beyond[problem.ways :] = NOT
        hidden, cell, before = state["hidden"], state["cell"], x.new_zeros(self.places)
        shares = list(state["shares"].unbind(0))
        for place in order:
            given = torch.cat([seen[place], clusters, before, shares[place]])
            hidden, cell = self.cell(given[None], (hidden, cell))
            before = torch.softmax(self.says(hidden)[0] + beyond, 0)
            shares[place] = before
        return {"shares": torch.stack(shares), "hidden": hidden, "cell": cell}

    def outputs(self, problem: Problem, state: State) -> Tensor:
        """The logits [Q, Q] that two points are in one cluster."""
        chances = (state["shares"] @ state["shares"].T).clamp(SURE, 1 - SURE)
        return torch.logit(chances)


def reading(x: Points, along: Points) -> tuple[list[int], Points]:
    """The order in which the points ``x`` [N, D] are read, and [N] how far each was from those read before.

    The first is that of the largest ``along`` [N], each further one the nearest to any point read, as Prim's algorithm
    grows a tree. Equals come in the order of their inputs. Distances are logarithms over their median.
    """
    own = own_order(x)
    x, first = x[own], int(along[own].round(6).argmax())
    nearest, unread, order = np.full(len(x), np.inf), np.ones(len(x), bool), [first]
    while len(order) < len(x):
        unread[order[-1]] = False
        nearest = np.where(unread, np.minimum(nearest, np.linalg.norm(x - x[order[-1]], axis=1)), nearest)
        order.append(int(np.where(unread, nearest, np.inf).argmin()))
    nearest[first] = np.median(nearest[order[1:]])
    usual = max(float(np.median(nearest)), LEAST)
    away = np.log((nearest + LEAST) / usual).clip(-4, 4)
    return own[order].tolist(), away[np.argsort(own)]


def principal(x: Points, axes: int) -> Points:
    """The points ``x`` [N, D] on the set's principal axes [N, A], of which missing ones are 0.

    Each axis points to where the longer tail is, so that a set turned looks the same.
    """
    x = scaled(x)
    _, _, directions = np.linalg.svd(x, full_matrices=False)
    found = x @ directions[:axes].T
    found = found * np.where((found**3).sum(0) < 0, -1.0, 1.0)
    spread = float(found.std()) if found.std() > 0 else 1.0
    return np.pad(found / spread, ((0, 0), (0, max(0, axes - found.shape[1]))))[:, :axes]
