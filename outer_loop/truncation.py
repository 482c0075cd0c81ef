"""How long each piece of an unroll and each whole trajectory is."""

from dataclasses import dataclass

import torch


def uniform_int(bounds: tuple[int, int], generator: torch.Generator) -> int:
    """A whole number drawn uniformly from ``bounds``, both ends included."""
    low, high = bounds
    return int(torch.randint(low, high + 1, (), generator=generator))


@dataclass(frozen=True)
class TruncationSchedule:
    """Uniform lengths in inner steps: ``piece`` between two outer updates, ``trajectory`` from start to restart.

    Both are sampled, which lessens the bias that a fixed truncation brings (Metz et al., 2019, section 5.3).
    """

    piece: tuple[int, int]
    trajectory: tuple[int, int]

    def draw_piece(self, generator: torch.Generator) -> int:
        """Inner steps until the next outer update."""
        return uniform_int(self.piece, generator)

    def draw_trajectory(self, generator: torch.Generator) -> int:
        """Inner steps of a whole trajectory."""
        return uniform_int(self.trajectory, generator)

    def draw_first(self, slot: int, slots: int, generator: torch.Generator) -> int:
        """Inner steps of the first trajectory of ``slot``: slot i of n gets a share (i + 1) / n of a whole one.

        So the slots restart at different outer steps, and each update sees early and late states.
        """
        return max(1, self.draw_trajectory(generator) * (slot + 1) // slots)
