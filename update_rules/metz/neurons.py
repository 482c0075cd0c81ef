"""What each neuron of the Metz rule knows: the error signal of the top layer and the neuron states below it.

Metz et al. (2019), appendix A. Shapes: B examples, N units, C delta channels, H hidden channels.
"""

import math

import torch
from torch import Tensor, nn

from update_rules.metz.layers import BatchNorm, Convolution, ConvolutionNorm, UnitBlock

STATISTICS = 8
PER_EXAMPLE = 4  # activation, pre-activation, sine and cosine of the unit's id; the delta channels follow


class TopSignal(nn.Module):
    """The error signal of the top layer, computed from its activations alone, with convolutions over the examples."""

    def __init__(self, outputs: int, hidden: int, layers: int, delta_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.entry = ConvolutionNorm(5, 1, hidden, generator)
        self.across_units = nn.ModuleList(ConvolutionNorm(3, outputs, outputs, generator) for _ in range(2))
        self.layers = nn.ModuleList(ConvolutionNorm(3, hidden, hidden, generator) for _ in range(layers))
        self.exit = Convolution(3, hidden, delta_channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Activations ``x`` [B, N] of the top layer to its error signal [B, N, C]."""
        t = self.entry(x[:, :, None], axis=0).transpose(1, 2)  # [B, hidden, N]: the units become the channels
        for block in self.across_units:
            t = block(t, axis=0)
        t = t.transpose(1, 2)
        for block in self.layers:
            t = block(t, axis=0)
        return self.exit(t, axis=0)


class NeuronState(nn.Module):
    """The state of every neuron, from what it sees of itself and its weights; one network for all layers."""

    def __init__(self, hidden: int, layers: int, delta_channels: int, generator: torch.Generator) -> None:
        super().__init__()
        seen = PER_EXAMPLE + delta_channels
        self.input_norm = BatchNorm(seen)
        widths = [STATISTICS + 1 + seen] + [hidden] * layers
        self.over_examples = nn.ModuleList(ConvolutionNorm(3, width, hidden, generator) for width in widths)
        self.over_units = nn.ModuleList(UnitBlock(hidden, generator) for _ in widths)

    def forward(self, x: Tensor, z: Tensor, error: Tensor, statistics: Tensor, bias: Tensor) -> Tensor:
        """The states [B, N, H] of one layer from its x and z [B, N], error [B, N, C], statistics [N, 8], bias [N]."""
        examples, units = x.shape
        angles = unit_angles(x).expand(examples, units, 2)
        seen = self.input_norm(torch.cat([torch.stack([x, z], -1), angles, error], -1))
        constant = torch.cat([statistics, bias[:, None]], -1).expand(examples, units, STATISTICS + 1)
        t = torch.cat([constant, seen], -1)
        for over_examples, over_units in zip(self.over_examples, self.over_units, strict=True):
            t = over_units(over_examples(t, axis=0))
        return t


def unit_angles(x: Tensor) -> Tensor:
    """Sine and cosine [N, 2] of the ids of the units of ``x`` [..., N], spaced evenly from 0 to 4π inclusive."""
    angle = torch.linspace(0.0, 4 * math.pi, x.shape[-1], dtype=x.dtype, device=x.device)
    return torch.stack([torch.sin(angle), torch.cos(angle)], -1)


def weight_statistics(incoming: Tensor | None, outgoing: Tensor | None) -> Tensor:
    """Eight statistics [..., N, 8] of each unit's weights, scaled together to a root mean square of 1.

    Four (mean magnitude, root mean square, mean, standard deviation) of its column of ``incoming`` [..., N_below, N],
    then of its row of ``outgoing`` [..., N, N_above]. If one is None the other's are repeated; ValueError if both are.
    """
    sides = ([] if incoming is None else [incoming]) + ([] if outgoing is None else [outgoing.mT])
    if not sides:
        raise ValueError("got neither incoming nor outgoing weights, expected at least one of them")
    statistics = []
    for weights in sides:
        mean = weights.mean(-2)
        variance = ((weights - mean[..., None, :]) ** 2).mean(-2)
        rms = torch.sqrt((weights * weights).mean(-2) + 1e-6)
        statistics += [weights.abs().mean(-2), rms, mean, torch.sqrt(variance + 1e-8)]
    stacked = torch.stack(statistics * (2 // len(sides)), -1)
    return stacked * torch.rsqrt((stacked * stacked).mean((-2, -1), keepdim=True) + 1e-6)
