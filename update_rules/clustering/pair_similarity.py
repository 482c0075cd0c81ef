"""``pair_similarity``: whether two points belong together, from how they lie to each other alone.

Shapes: Q points of a set and their M pairs, F relations of a pair, P of a point.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import nn

from common.checked import Count
from update_rules.clustering.clusterer import TOLD, PairClusterer, relations_of, told
from update_rules.clustering.relations import PAIRS, POINTS, pairs_of
from update_rules.contract import Problem, State, StepViews

Sees = Literal["relations", "distance"]
"""What is seen of a pair: all of ``relations`` and how dense the set is around both points, or their distance."""


class PairSimilarity(PairClusterer):
    """A network that tells "same cluster or not" of pairs, for sets it never saw (Garg and Kalai, 2018, their fourth).

    The paper's network has the columns of both points, padded; here it has what does not depend on their number and
    order. Without ``units`` it is a logistic regression, and one that ``sees`` the distance alone a threshold.
    """

    name = "pair_similarity"

    def __init__(self, units: tuple[Count, ...] = (32, 32), sees: Sees = "relations", seed: int = 0) -> None:
        super().__init__()
        self.sees = sees
        widths = [1 if sees == "distance" else PAIRS + 2 * POINTS + TOLD, *units]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = [
                layer for inputs, outputs in pairwise(widths) for layer in (nn.Linear(inputs, outputs), nn.GELU())
            ]
            self.network = nn.Sequential(*hidden, nn.Linear(widths[-1], 1))

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The logits of every pair, from ``query_x``."""
        x = views["query_x"]
        of_pairs, of_points = relations_of(problem, x)
        if self.sees == "distance":
            seen = of_pairs[:, :1]
        else:
            first, second = (of_points[torch.from_numpy(one).to(x.device)] for one in pairs_of(len(x)))
            clusters = told(problem, x).expand(len(of_pairs), TOLD)
            seen = torch.cat([of_pairs, first + second, (first - second).abs(), clusters], -1)
        return {"logits": self.network(seen)[:, 0]}
