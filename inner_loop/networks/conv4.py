"""The convolutional base network of the few-shot papers: four blocks of convolution, batch normalisation and ReLU.

State keys for block l = 1..4: ``w{l}`` [9 · C_{l-1}, C_l], the 3 × 3 kernel with its rows in the order (row, column,
channel), ``g{l}`` and ``b{l}`` [C_l], scale and shift after normalisation. The head, if any, has ``w5`` and ``b5``.
"""

from dataclasses import asdict, dataclass, replace
from math import isqrt
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

from common.checked import Count, one_of
from inner_loop.networks.contract import NetworkFamily
from update_rules.contract import Activations, State, Statistics

BLOCKS = 4
VARIANCE_EPS = 1e-5
POOLINGS = ("stride", "max")
"""How a block halves a side: by the stride of its convolution, as MAML on Omniglot, or by the largest of 2 × 2."""


@dataclass(frozen=True)
class Conv4:
    """Four blocks of ``filters`` channels on images of ``side`` × ``side`` pixels and ``channels`` colours.

    Inputs are flat, [B, side · side · channels] with colours last. Block: 3 × 3 convolution, batch normalisation over
    examples and places with a learned scale and shift, ReLU, and by ``pooling`` half the side. With ``stride`` the
    features are means over the places that are left (Finn et al., 2017, for Omniglot), with ``max`` all that is left,
    flattened (Snell et al., 2017). ``outputs`` > 0 adds a linear head of as many logits. Raises ValueError for sizes
    below 1, a side too small to be halved four times, and another pooling.
    """

    kind: ClassVar[str] = "conv4"
    competes: ClassVar[bool] = False
    side: int
    channels: int = 1
    filters: int = 32
    pooling: str = "stride"
    outputs: int = 0

    def __post_init__(self) -> None:
        if min(self.side, self.channels, self.filters) < 1 or self.outputs < 0:
            raise ValueError(f"got {self}, expected sizes of 1 or more")
        if self.pooling not in POOLINGS:
            raise ValueError(f"got pooling {self.pooling!r}, expected one of {', '.join(POOLINGS)}")
        if self.pooling == "max" and self.side < 2**BLOCKS:
            raise ValueError(
                f"got images of {self.side} x {self.side} pixels for a conv4 network with pooling=max, expected "
                f"{2**BLOCKS} or more a side"
            )

    @property
    def sides(self) -> list[int]:
        """The side of the image and of each block's output."""
        sides = [self.side]
        for _ in range(BLOCKS):
            sides.append(sides[-1] // 2 if self.pooling == "max" else -(-sides[-1] // 2))
        return sides

    @property
    def code(self) -> int:
        """The number of features below the head."""
        return self.filters * (self.sides[-1] ** 2 if self.pooling == "max" else 1)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of the input and of what each block and the head put out for an example."""
        blocks = [self.filters * side * side for side in self.sides[1:-1]]
        head = [self.outputs] if self.outputs else []
        return (self.side * self.side * self.channels, *blocks, self.code, *head)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all weights."""
        shapes: dict[str, tuple[int, ...]] = {}
        for block in range(1, BLOCKS + 1):
            below = self.channels if block == 1 else self.filters
            shapes[f"w{block}"] = (9 * below, self.filters)
            shapes[f"g{block}"] = shapes[f"b{block}"] = (self.filters,)
        if self.outputs:
            shapes |= {f"w{BLOCKS + 1}": (self.code, self.outputs), f"b{BLOCKS + 1}": (self.outputs,)}
        return shapes

    def with_outputs(self, outputs: int) -> "Conv4":
        """The same network with a head of another number of logits; 0 is none."""
        return replace(self, outputs=outputs)

    def encoder(self) -> "Conv4":
        """The network below its head."""
        return self.with_outputs(0)

    def forward(self, state: State, x: Tensor, statistics: Statistics | None = None) -> Activations:
        """The forward pass of ``x`` [B, D], or with a leading T everywhere, normalised by itself or ``statistics``."""
        if x.dim() == 3:  # on a CPU faster than patches and matrix products, and than a loop over tasks
            return vmap(self._forward, (0, 0, None if statistics is None else 0))(state, x, statistics)
        return self._forward(state, x, statistics)

    def _forward(self, state: State, x: Tensor, statistics: Statistics | None) -> Activations:
        none = x.new_empty(0)
        layers = [(x, x, none, none)]
        image = x.reshape(len(x), self.side, self.side, self.channels).permute(0, 3, 1, 2)
        for block in range(1, BLOCKS + 1):
            g, b = state[f"g{block}"], state[f"b{block}"]
            sign = torch.where(g < 0, -1.0, 1.0)  # in the kernel, so that what is largest stays so under g
            kernel = (state[f"w{block}"] * sign).reshape(3, 3, image.shape[1], self.filters).permute(3, 2, 0, 1)
            linear = F.conv2d(image, kernel, padding=1, stride=2 if self.pooling == "stride" else 1)
            if statistics is None:  # in few passes over the largest tensors there are
                signed = linear.mean((0, 2, 3))
                var = ((linear * linear).mean((0, 2, 3)) - signed * signed).clamp_min(0)
            else:
                signed, var = sign * statistics[f"mean{block}"], statistics[f"var{block}"]
            if self.pooling == "max":
                linear = F.max_pool2d(linear, 2)
            scale = sign * g * torch.rsqrt(var + VARIANCE_EPS)
            z = linear * scale[:, None, None] + (b - signed * scale)[:, None, None]
            image = torch.relu(z)
            last = block == BLOCKS and self.pooling == "stride"
            found = (image.mean((2, 3)), z.mean((2, 3))) if last else (image.flatten(1), z.flatten(1))
            layers.append((*found, sign * signed, var))
        if self.outputs:
            logits = layers[-1][0] @ state[f"w{BLOCKS + 1}"] + state[f"b{BLOCKS + 1}"]
            layers.append((logits, logits, none, none))
        return Activations(*map(list, zip(*layers, strict=True)))


@dataclass(frozen=True)
class Conv4s(NetworkFamily):
    """The ``Conv4`` of so many ``filters`` for square images of so many ``channels``, halved by ``pooling``."""

    layers: ClassVar[str] = "convolutional"
    member: ClassVar[type[Any]] = Conv4

    filters: Count = 32
    channels: Count = 1
    pooling: Annotated[str, one_of(*POOLINGS)] = "stride"

    def first_options(self) -> dict[str, Any]:
        """All of them."""
        return asdict(self)

    def first(self, inputs: int, logits: int) -> Conv4:
        """The network for ``inputs`` inputs. Raises ValueError where they are no square image of the channels."""
        side = isqrt(inputs // self.channels)
        if side * side * self.channels != inputs:
            raise ValueError(
                f"got tasks of {inputs} inputs for a conv4 network, expected square images of "
                f"channels={self.channels}, one of network.options"
            )
        return Conv4(side, self.channels, self.filters, self.pooling, logits)
