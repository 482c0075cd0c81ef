"""``soft_hebb``: units share an example by a softmax of their answers (Moraitis et al., 2022)."""

from math import log

import torch
from torch import Tensor, nn

from common.checked import Rate
from update_rules.hand_written.layerwise import Layerwise


class SoftHebb(Layerwise):
    """Δw = ⟨p (x − y w)⟩ with p = softmax(y / ``temperature``) over units.

    With ``anti`` all units but the strongest learn with the other sign (Journé et al., 2023, equation 2).
    """

    name = "soft_hebb"

    centred = False

    def __init__(self, rate: Rate = 0.1, temperature: Rate = 0.1, anti: bool = False) -> None:
        super().__init__(rate)
        self.log_temperature, self.anti = nn.Parameter(torch.tensor(log(temperature))), anti

    def change(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Towards the examples that a unit answers to more than others do."""
        share = torch.softmax(y * (-self.log_temperature).exp(), 1)
        if self.anti:
            strongest = y == y.amax(1, keepdim=True)
            share = torch.where(strongest, share, -share)
        return (x.mT @ share - w * (share * y).sum(0)) / len(x)

    def describe(self) -> dict[str, float]:
        """The rate and the temperature."""
        return {**super().describe(), "temperature": self.log_temperature.exp().item()}
