"""The building blocks of the networks inside the Metz rule: linear maps, convolutions, batch norms, unit blocks.

The last axis holds channels. Shapes: B examples, N units, C channels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-3


def truncated_normal(shape: tuple[int, ...], std: float, generator: torch.Generator) -> Tensor:
    """Float32 draws of ``shape`` from a normal of standard deviation ``std``, redrawn beyond two of them."""
    return nn.init.trunc_normal_(torch.empty(shape), std=std, a=-2 * std, b=2 * std, generator=generator)


class Linear(nn.Module):
    """A linear map of channels, [..., C_in] to [..., C_out], with truncated normal weights of std 1/√C_in."""

    def __init__(self, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((inputs, outputs), inputs**-0.5, generator))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., C_in] to [..., C_out]."""
        return x @ self.weight + self.bias


class Convolution(nn.Module):
    """A zero-padded 1-D convolution of odd ``width``: weights [width, C_in, C_out], first of std 1/√(width · C_in)."""

    def __init__(self, width: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = nn.Parameter(truncated_normal((width, inputs, outputs), (width * inputs) ** -0.5, generator))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """Slide along ``axis`` (0 or 1) of ``x`` [P, Q, C_in]; result [P, Q, C_out]."""
        width, length = self.weight.shape[0], x.shape[axis]
        margin = (width // 2, width // 2)
        padded = F.pad(x, (0, 0, 0, 0, *margin) if axis == 0 else (0, 0, *margin))
        # One product over all taps at once: faster on a CPU than a convolution, which would need channels first.
        windows = torch.cat([padded.narrow(axis, tap, length) for tap in range(width)], -1)
        return windows @ self.weight.flatten(0, 1) + self.bias


class BatchNorm(nn.Module):
    """Batch norm by the current mean and biased variance of each channel, with a learned offset and no scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[P, Q, C] to the same shape; the statistics run over P and Q."""
        centred = x - x.mean((0, 1))
        return centred * torch.rsqrt((centred * centred).mean((0, 1)) + NORM_EPS) + self.offset


class ConvolutionNorm(nn.Module):
    """Convolution, batch norm, relu."""

    def __init__(self, width: int, inputs: int, outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        self.convolution = Convolution(width, inputs, outputs, generator)
        self.norm = BatchNorm(outputs)

    def forward(self, x: Tensor, axis: int) -> Tensor:
        """[P, Q, C_in] to [P, Q, C_out], the convolution along ``axis``."""
        return torch.relu(self.norm(self.convolution(x, axis)))


class UnitBlock(nn.Module):
    """A residual block that lets neighbouring units talk: t + relu(BN(conv(relu(BN(conv(t)))))), width 3 over units."""

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = ConvolutionNorm(3, channels, channels, generator)
        self.second = ConvolutionNorm(3, channels, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] to the same shape."""
        return x + self.second(self.first(x, axis=1), axis=1)
