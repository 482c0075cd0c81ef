"""``krotov_hopfield``: the strongest unit learns an example, another one unlearns it (Krotov and Hopfield, 2019)."""

import torch
from torch import Tensor, nn

from common.checked import Count, NotNegative, Rate
from update_rules.hand_written.layerwise import TINY, Layerwise


class KrotovHopfield(Layerwise):
    """Δw = ⟨x gᵀ⟩ − w ⟨g y⟩ with g = 1 for the strongest unit and −``unlearning`` for the one of the ``rank``.

    Equations 3 and 10 of the paper with p = 2 and R = 1. As in its published code, the largest change of a layer is 1
    before the rate. Inputs keep their mean.
    """

    name = "krotov_hopfield"

    centred = False

    def __init__(self, rate: Rate = 0.02, unlearning: NotNegative = 0.4, rank: Count = 2) -> None:
        super().__init__(rate)
        self.unlearning, self.rank = nn.Parameter(torch.tensor(float(unlearning))), rank

    def change(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Towards the examples that a unit wins, away from those that it is runner-up for."""
        place = min(self.rank, y.shape[1]) - 1
        order = y.topk(place + 1, dim=1).indices
        units = torch.arange(y.shape[1], device=y.device)
        wins, loses = (units == order[:, :1]).to(y), (units == order[:, place:]).to(y)
        g = wins - self.unlearning * loses if place else wins
        change = x.mT @ g - w * (g * y).sum(0)
        return change / (change.abs().amax() + TINY)

    def describe(self) -> dict[str, float]:
        """The rate, and how much the other unit unlearns."""
        return {**super().describe(), "unlearning": self.unlearning.item()}
