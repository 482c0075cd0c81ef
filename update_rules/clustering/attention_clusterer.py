"""``attention_clusterer``: chances that two points of a set belong together, by attention between all of its points.

Shapes: Q points of a set and their M pairs, D inputs, W units a point, H heads, F relations of a pair.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.checked import Count
from update_rules.clustering.clusterer import TOLD, PairClusterer, relations_of, told
from update_rules.clustering.relations import PAIRS, POINTS, pairs_of, place_of
from update_rules.contract import Problem, State, StepViews

OF_PAIR = 32
"""Units of a pair."""

OF_MAP = 8
"""Units of each map by which points are compared at last."""


class Block(nn.Module):
    """Attention with a bias for each pair and head, and a layer of units; both around a residual stream."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mixed, self.joined = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.units = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """The points ``x`` [Q, W] after the block, given a ``bias`` [H, Q, Q]."""
        points, width = x.shape
        mixed = self.mixed(self.before(x)).view(points, 3, self.heads, width // self.heads)
        asks, keys, values = mixed.permute(1, 2, 0, 3)
        seen = F.scaled_dot_product_attention(asks, keys, values, attn_mask=bias)
        x = x + self.joined(seen.transpose(0, 1).reshape(points, width))
        out: Tensor = x + self.units(self.between(x))
        return out


class AttentionClusterer(PairClusterer):
    """Meta-learning to cluster (Jiang and Verma, 2019), with attention in the place of a recurrent network.

    A step makes the logits anew from how the points lie to each other (``relations``) and from the last logits, so that
    neither the order of points nor the number of inputs matters. The number of clusters is told, as ``problem.ways``,
    or not. A pair's relations bias attention (heads and ``blocks``) and are compared, beside ``maps`` products of what
    has become of its points, at last.
    """

    name = "attention_clusterer"

    def __init__(self, width: Count = 48, heads: Count = 4, blocks: Count = 3, maps: Count = 8, seed: int = 0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"got width={width} and heads={heads}, expected a width that heads divide")
        self.heads, self.maps = heads, maps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.point = nn.Linear(POINTS + TOLD, width)
            self.pair = nn.Sequential(
                nn.Linear(PAIRS + TOLD + 1, OF_PAIR), nn.GELU(), nn.Linear(OF_PAIR, OF_PAIR), nn.GELU()
            )
            self.bias = nn.Linear(OF_PAIR, heads * blocks)
            self.itself = nn.Parameter(torch.zeros(1, heads * blocks))
            self.blocks = nn.ModuleList(Block(width, heads) for _ in range(blocks))
            self.norm, self.compared = nn.LayerNorm(width), nn.Linear(width, maps * OF_MAP)
            self.last = nn.Sequential(nn.Linear(OF_PAIR + maps, OF_PAIR), nn.GELU(), nn.Linear(OF_PAIR, 1))

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The logits of every pair, from ``query_x`` and the last ones."""
        x, last = views["query_x"], state["logits"]
        count = len(x)
        of_pairs, of_points = relations_of(problem, x)
        first, second = (torch.from_numpy(one).to(x.device) for one in pairs_of(count))
        clusters = told(problem, x)
        pair = self.pair(torch.cat([of_pairs, clusters.expand(len(of_pairs), TOLD), last[:, None] / 3], -1))
        every = torch.cat([self.bias(pair), self.itself])[torch.from_numpy(place_of(count)).to(x.device)]
        bias = every.view(count, count, len(self.blocks), self.heads).permute(2, 3, 0, 1).contiguous()
        point = self.point(torch.cat([of_points, clusters.expand(count, TOLD)], -1))
        for block, own in zip(self.blocks, bias, strict=True):
            point = block(point, own)
        maps = self.compared(self.norm(point)).view(count, self.maps, OF_MAP)
        products = (maps[first] * maps[second]).sum(-1) / OF_MAP**0.5
        return {"logits": self.last(torch.cat([pair, products], -1))[:, 0]}
