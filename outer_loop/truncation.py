"""How long each truncated unroll and each whole trajectory is."""

import math
from dataclasses import dataclass

import torch

from common.draws import uniform_int


@dataclass(frozen=True)
class TruncationSchedule:
    """Lengths in inner steps: ``unroll`` between two outer updates, ``trajectory`` from start to restart.

    Unrolls are drawn uniformly, trajectories uniformly in the logarithm, which lessens the bias of a fixed truncation
    (Metz et al., 2019, section 5.3). Over the first ``curriculum`` outer steps the longest trajectory grows from the
    shortest, by equal factors.
    """

    unroll: tuple[int, int]
    trajectory: tuple[int, int]
    curriculum: int = 0

    def draw_unroll(self, generator: torch.Generator) -> int:
        """Inner steps until the next outer update."""
        return uniform_int(self.unroll, generator)

    def draw_trajectory(self, generator: torch.Generator, outer_step: int) -> int:
        """Inner steps of a whole trajectory that starts at ``outer_step``."""
        low, high = self.trajectory
        grown = min(1.0, outer_step / self.curriculum) if self.curriculum else 1.0
        share = float(torch.rand((), generator=generator, dtype=torch.float64))
        return round(low * math.exp(share * grown * math.log(high / low)))

    def draw_first(self, place: int, places: int, generator: torch.Generator) -> int:
        """Inner steps of the first trajectory in ``place``: a share (place + 1) / places, so restarts are spread."""
        return max(1, self.draw_trajectory(generator, 0) * (place + 1) // places)
