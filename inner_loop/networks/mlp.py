"""The base network: a batch-normalised multi-layer perceptron with forward and backward weights.

State keys for layer l = 1..L: forward weights ``w{l}`` and backward ``v{l}`` [N_{l-1}, N_l], biases ``b{l}`` [N_l].
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field
from torch import Tensor

from common.checked import Count, one_of
from inner_loop.networks.activations import ACTIVATIONS, LINEAR_OUTPUTS, NETWORK_ACTIVATIONS, units_compete
from inner_loop.networks.contract import NetworkFamily
from update_rules.contract import Activations, State, Statistics

VARIANCE_EPS = 1e-6


@dataclass(frozen=True)
class MLP:
    """An MLP of given ``sizes`` (D, N_1, ..., N_L) and ``activation``, but linear outputs under ``winners_linear``.

    z_l = (x_{l-1} W_l - mean_B) / sqrt(var_B + 1e-6) + b_l and x_l = activation(z_l), after Metz et al. (2019),
    section 3.1. Raises ValueError for fewer than one layer, an empty layer or an unknown activation.
    """

    kind: ClassVar[str] = "mlp"
    sizes: tuple[int, ...]
    activation: str = "relu"

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise ValueError(f"got network sizes {self.sizes}, expected an input and layers, all of 1 or more")
        if self.activation not in NETWORK_ACTIVATIONS:
            raise ValueError(f"got activation {self.activation!r}, expected one of {', '.join(NETWORK_ACTIVATIONS)}")

    @property
    def depth(self) -> int:
        """Number of layers with weights."""
        return len(self.sizes) - 1

    @property
    def hidden_activation(self) -> str:
        """The activation of the hidden layers, a name in ``ACTIVATIONS``."""
        return LINEAR_OUTPUTS.get(self.activation, self.activation)

    @property
    def competes(self) -> bool:
        """Whether the units of a hidden layer compete."""
        return units_compete(self.activation)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the forward weights and biases."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in range(1, self.depth + 1):
            low, up = self.sizes[layer - 1 : layer + 1]
            shapes |= {f"w{layer}": (low, up), f"b{layer}": (up,)}
        return shapes

    def with_outputs(self, outputs: int) -> "MLP":
        """The same network with another number of units in its last layer."""
        return replace(self, sizes=(*self.sizes[:-1], outputs))

    def encoder(self) -> "MLP":
        """The network below its last layer, or this one where there is no other layer."""
        if self.depth == 1:
            return self
        return replace(self, sizes=self.sizes[:-1], activation=self.hidden_activation)

    def forward(self, state: State, x: Tensor, statistics: Statistics | None = None) -> Activations:
        """The forward pass of ``x`` [B, D], or with a leading T everywhere, normalised by itself or ``statistics``."""
        act = ACTIVATIONS[self.hidden_activation]
        layers = [(x, x, x.new_empty(0), x.new_empty(0))]
        for layer in range(1, self.depth + 1):
            linear = layers[-1][0] @ state[f"w{layer}"]
            mean = linear.mean(-2) if statistics is None else statistics[f"mean{layer}"]
            centred = linear - mean[..., None, :]
            var = (centred * centred).mean(-2) if statistics is None else statistics[f"var{layer}"]
            z = centred * torch.rsqrt(var + VARIANCE_EPS)[..., None, :] + state[f"b{layer}"][..., None, :]
            layers.append((z if layer == self.depth and self.activation in LINEAR_OUTPUTS else act(z), z, mean, var))
        return Activations(*map(list, zip(*layers, strict=True)))


@dataclass(frozen=True)
class MLPs(NetworkFamily):
    """MLPs of ``outputs`` features: choices of ``hidden`` widths, bottom first ([]: one layer), and ``activations``."""

    layers: ClassVar[str] = "dense"
    member: ClassVar[type[Any]] = MLP

    hidden: Annotated[tuple[tuple[Count, ...], ...], Field(min_length=1)] = ((64, 64), (48,))
    outputs: Count = 32
    activations: Annotated[tuple[Annotated[str, one_of(*NETWORK_ACTIVATIONS)], ...], Field(min_length=1)] = ("relu",)

    @property
    def single(self) -> bool:
        """Whether there is one choice of widths and of activation."""
        return len(self.hidden) == len(self.activations) == 1

    @property
    def competes(self) -> bool:
        """Whether they do under the first activation."""
        return units_compete(self.activations[0])

    @property
    def differentiable(self) -> bool:
        """Whether no choice is a step."""
        return "step" not in self.activations

    def first_options(self) -> dict[str, Any]:
        """The first widths and activation, and ``outputs``."""
        return {"hidden": [list(self.hidden[0])], "outputs": self.outputs, "activations": [self.activations[0]]}

    def told(self) -> dict[str, Any]:
        """The first widths and activation, and ``outputs``."""
        return {"hidden": list(self.hidden[0]), "outputs": self.outputs, "activation": self.activations[0]}

    def varied(self, what: str, value: Any) -> Self:
        """The first network with hidden layers ``value`` times as wide, ``value`` layers, or another activation."""
        hidden = self.hidden[0]
        if what == "activation":
            return replace(self, activations=(value,))
        if what == "width":
            return replace(self, hidden=(tuple(max(1, round(value * units)) for units in hidden),))
        if value > 1 and not hidden:
            raise ValueError("got no hidden units for a sweep of depth, expected those of one hidden layer to repeat")
        return replace(self, hidden=(hidden[:1] * (value - 1),))

    def draw(self, inputs: int, logits: int, generator: torch.Generator) -> MLP:
        """A network of widths and activation drawn uniformly."""
        hidden = self.hidden[int(torch.randint(len(self.hidden), (), generator=generator))]
        activation = self.activations[int(torch.randint(len(self.activations), (), generator=generator))]
        return MLP((inputs, *hidden, logits or self.outputs), activation)

    def first(self, inputs: int, logits: int) -> MLP:
        """The network of the first widths and activation."""
        return MLP((inputs, *self.hidden[0], logits or self.outputs), self.activations[0])
