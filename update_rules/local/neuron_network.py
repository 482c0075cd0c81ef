"""The small network inside every neuron of ``neuron_local``. Channels come first, [channels, B, N]: one product a map.

Shapes: B examples, N units, H hidden channels, F inputs per example, R readouts, T tasks.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn

from update_rules.local.neuron_block import NeuronBlock

UNIT_INPUTS = 12
"""Incoming mean |w| and mean w; outgoing mean |w|, rms and mean w; batch mean and deviation of x; bias; a constant; and
the CONTEXT of the neuron's layer."""


def channel_map(weights: Tensor, x: Tensor) -> Tensor:
    """``weights`` [R, H] applied to the channels of ``x`` [H, B, N]: [R, B, N]."""
    # As an einsum: under vmap, `weights @ x` would copy x to fold the tasks into one product (3 to 4 times slower).
    return torch.einsum("rh,hn->rn", weights, x.flatten(1)).unflatten(1, x.shape[1:])


def scaled_normal(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """Normal numbers with standard deviation 1 / sqrt(columns), the fan-in."""
    return nn.Parameter(torch.randn(rows, columns, generator=generator) / math.sqrt(columns))


class NeuronMLP(nn.Module):
    """Two layers inside each neuron: [F, B, N] per example and [UNIT_INPUTS, N] per unit in, [H, B, N] out.

    The first layer's output, averaged over the batch, is a second input of the next: a neuron's own history.
    """

    def __init__(self, per_example: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.example = scaled_normal(hidden, per_example, generator)
        self.unit = scaled_normal(hidden, UNIT_INPUTS, generator)
        self.mix = scaled_normal(hidden, hidden, generator)
        self.pooled = scaled_normal(hidden, hidden, generator)
        self.offset = nn.Parameter(torch.zeros(hidden))

    def forward(self, per_example: Tensor, per_unit: Tensor) -> Tensor:
        """The neuron states [H, B, N] for ``per_example`` [F, B, N] and ``per_unit`` [UNIT_INPUTS, N]."""
        first = torch.relu(channel_map(self.example, per_example) + (self.unit @ per_unit)[:, None, :])
        history = self.pooled @ first.mean(1) + self.offset[:, None]
        return torch.relu(channel_map(self.mix, first) + history[:, None, :])

    def batched(self, seen: Tensor, per_unit: Tensor, *readout: Tensor | None) -> Tensor:
        """What the ``readout`` (from_hidden, from_inputs, offset) reads out of the states of T tasks, [T, R, B, N]."""
        own = (self.example, self.unit, self.mix, self.pooled, self.offset)
        return cast(Tensor, NeuronBlock.apply(seen, per_unit, *own, *readout))
