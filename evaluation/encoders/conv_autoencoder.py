"""A convolutional autoencoder of flat images, whose codes stand for them: encoder, decoder and their first weights.

Shapes: n examples, D inputs (H·W, or H·W·3 with the colours of a pixel side by side), E code axes.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

SMALLEST_SIDE = 8
"""The longer side is halved until it has at most so many pixels, and at least once."""

WIDEST = 4
"""Channels double with each halving, up to so many times the first."""

SLOPE = 0.2
"""Of the leaky relus, as in Berthelot et al. (2019)."""

EXAMPLES_AT_ONCE = 1024
"""Examples embedded in one pass, which bounds the memory of the activations."""


@dataclass(frozen=True)
class ConvShape:
    """What encoder and decoder have in common: images (H, W) or (H, W, 3), E code axes, channels at the first layer.

    Raises ValueError for another image shape and numbers below 1.
    """

    image_shape: tuple[int, ...]
    code: int
    channels: int

    def __post_init__(self) -> None:
        shape = self.image_shape
        if len(shape) not in (2, 3) or shape[2:] not in ((), (3,)) or min(shape) < 1:
            raise ValueError(f"got images of shape {list(shape)}, expected [height, width] or [height, width, 3]")
        if min(self.code, self.channels) < 1:
            raise ValueError(f"got a code of {self.code} axes and {self.channels} channels, expected 1 or more of each")

    @property
    def planes(self) -> int:
        """1 for grey images and 3 for colour."""
        return 3 if len(self.image_shape) == 3 else 1

    @property
    def halvings(self) -> int:
        """How often the sides are halved."""
        return max(1, math.ceil(math.log2(max(self.image_shape[:2]) / SMALLEST_SIDE)))

    @property
    def widths(self) -> list[int]:
        """Channels after each halving, behind those of the images."""
        return [self.planes, *(self.channels * min(2**place, WIDEST) for place in range(self.halvings))]

    @property
    def bottom(self) -> tuple[int, int, int]:
        """Channels, height and width after the last halving, of sides padded to what can be halved so often."""
        height, width = (math.ceil(side / 2**self.halvings) for side in self.image_shape[:2])
        return self.widths[-1], height, width

    @property
    def margins(self) -> list[int]:
        """Padding on the left, right, top and bottom, pixels."""
        height, width = (side * 2**self.halvings for side in self.bottom[1:])
        across, down = width - self.image_shape[1], height - self.image_shape[0]
        return [across // 2, across - across // 2, down // 2, down - down // 2]

    def to_planes(self, x: Tensor) -> Tensor:
        """Flat images [n, D] as padded planes [n, 1 or 3, H', W']."""
        images = x.unflatten(1, self.image_shape)
        planes = images.permute(0, 3, 1, 2) if self.planes == 3 else images[:, None]
        return F.pad(planes, self.margins)

    def to_flat(self, planes: Tensor) -> Tensor:
        """The other way: padding cut off, [n, D]."""
        (left, _, top, _), (height, width) = self.margins, self.image_shape[:2]
        images = planes[:, :, top : top + height, left : left + width]
        return (images.permute(0, 2, 3, 1) if self.planes == 3 else images[:, 0]).flatten(1)


def _layers(*modules: nn.Module) -> list[nn.Module]:
    return [layer for module in modules for layer in (module, nn.LeakyReLU(SLOPE))]


class ConvEncoder(nn.Module):
    """Flat images [n, D] in [0, 1] -> codes [n, E]: convolutions of stride 2, one more, and a linear layer."""

    def __init__(self, shape: ConvShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths
        self.layers = nn.Sequential(
            *_layers(*(nn.Conv2d(low, up, 3, stride=2, padding=1) for low, up in pairwise(widths))),
            *_layers(nn.Conv2d(widths[-1], widths[-1], 3, padding=1)),
            nn.Flatten(),
            nn.Linear(prod(shape.bottom), shape.code),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The codes of ``x``."""
        codes: Tensor = self.layers(self.shape.to_planes(x))
        return codes

    def embed(self, x: Tensor) -> Tensor:
        """Codes float32 [n, E] of ``x`` [n, D], without gradients. Raises ValueError for another width than D."""
        if x.dim() != 2 or x.shape[1] != prod(self.shape.image_shape):
            raise ValueError(
                f"got examples of shape {list(x.shape)}, expected [examples, {prod(self.shape.image_shape)}], images "
                f"{' × '.join(map(str, self.shape.image_shape))}"
            )
        with torch.no_grad():
            return torch.cat([self(part) for part in x.split(EXAMPLES_AT_ONCE)])


class ConvDecoder(nn.Module):
    """Codes [n, E] -> flat images [n, D] in (0, 1): the layers of the encoder in reverse."""

    def __init__(self, shape: ConvShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths[::-1]
        up = [nn.ConvTranspose2d(low, high, 4, stride=2, padding=1) for low, high in pairwise(widths)]
        self.layers = nn.Sequential(
            nn.Linear(shape.code, prod(shape.bottom)),
            nn.Unflatten(1, shape.bottom),
            *_layers(nn.Conv2d(widths[0], widths[0], 3, padding=1), *up[:-1]),
            up[-1],
            nn.Sigmoid(),
        )

    def forward(self, code: Tensor) -> Tensor:
        """The images that ``code`` stands for."""
        return self.shape.to_flat(self.layers(code))


def start_at_random(network: nn.Module, generator: Generator) -> None:
    """Fill the weights of ``network`` with normal numbers that keep the scale of activations, and the biases with 0."""
    for parameter in network.parameters():
        if parameter.dim() < 2:
            nn.init.zeros_(parameter)
        else:
            nn.init.kaiming_normal_(parameter, SLOPE, generator=generator)
