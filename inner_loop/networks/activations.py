"""The activations of base networks: elementwise ones, and one in which the units of a layer compete."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def step(z: Tensor) -> Tensor:
    """1 where z > 0, else 0: no gradient passes, which a local rule does not need (any shape, same dtype)."""
    return (z > 0).to(z.dtype)


WINNERS = 32
"""Units of a layer that answer an example under ``winners``."""


def winners(z: Tensor, count: int = WINNERS) -> Tensor:
    """Of z [..., N] the ``count`` largest, less the largest that lost, over their sum: lateral inhibition ([..., N]).

    A smaller layer has a single loser. Close to the nearest landmarks of Chen and Cai (2011), "Large scale spectral
    clustering with landmark-based representation", section 3.2.
    """
    best = z.topk(min(count + 1, z.shape[-1]), -1).values
    leads = torch.relu(z - best[..., -1:])
    return leads / (leads.sum(-1, keepdim=True) + 1e-6)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "step": step,
    "winners": winners,
}
"""What the units of a layer may answer, by name."""

LINEAR_OUTPUTS: dict[str, str] = {"winners_linear": "winners"}
"""Names under which the last layer of a base network stays linear, and what its hidden layers answer."""

NETWORK_ACTIVATIONS: tuple[str, ...] = (*ACTIVATIONS, *LINEAR_OUTPUTS)
"""All names that a base network's ``activation`` may have."""


def units_compete(activation: str) -> bool:
    """Whether hidden units compete in a base network of this ``activation``, a name in ``NETWORK_ACTIVATIONS``."""
    return LINEAR_OUTPUTS.get(activation, activation) == "winners"
