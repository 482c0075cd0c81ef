"""The optimisers of the outer loop: any of ``torch.optim`` that needs gradients alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from common.components import Registry

OPTIMISERS = Registry(
    "optimiser",
    Optimizer,
    {
        name: f"torch.optim:{name}"
        for name, value in vars(torch.optim).items()
        # LBFGS asks for the loss again and again, SparseAdam for sparse gradients.
        if isinstance(value, type) and name not in ("Optimizer", "LBFGS", "SparseAdam")
    },
)

RESERVED = ("params", "lr")
"""Options that the trainer sets itself: θ, and ``outer.learning_rate`` by its schedule."""


def make_optimiser(name: str, parameters: Iterable[nn.Parameter], rate: float, options: Mapping[str, Any]) -> Optimizer:
    """The optimiser ``name`` of ``parameters`` at the ``rate``. Raises ValueError for options that it refuses."""
    found: Any = OPTIMISERS.find(name)
    return found(parameters, lr=rate, **OPTIMISERS.checked(name, options))
