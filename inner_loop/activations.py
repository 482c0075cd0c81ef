"""The elementwise activations a base network may use."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def step(z: Tensor) -> Tensor:
    """1 where z > 0, else 0: no gradient passes, which a local rule does not need (any shape, same dtype)."""
    return (z > 0).to(z.dtype)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "step": step,
}
