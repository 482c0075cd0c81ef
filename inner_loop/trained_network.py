"""A base network that a rule has trained, with all that it takes to embed examples one by one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from inner_loop.networks.mlp import MLP
from update_rules.contract import State, Statistics

EXAMPLES_AT_ONCE = 4096
"""Examples embedded in one pass, which bounds the memory of the activations."""


def scaled(x: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """(x - offset) / scale in float64 [n, D], from ``x`` [n, D] of any floating dtype, offset and scale float64 [D]."""
    return (x - offset) / scale


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """``network`` with its trained ``state`` and frozen batch-norm ``statistics``.

    Inputs are scaled before they reach the network: (x - ``offset``) / ``scale``, both float64 [D],
    since columns such as dates may differ only in digits that float32 does not have.
    """

    network: MLP
    state: State
    statistics: Statistics
    offset: Tensor
    scale: Tensor

    def embed(self, x: Tensor) -> Tensor:
        """Features float32 [n, N_L] of ``x`` [n, D]; each example's depend on that example alone.

        Raises ValueError for another width than D and for features that are not finite.
        """
        inputs, outputs = self.network.sizes[0], self.network.sizes[-1]
        if x.dim() != 2 or x.shape[1] != inputs:
            raise ValueError(f"got examples of shape {list(x.shape)}, expected [examples, {inputs}] for this network")
        # In float64, so that how examples are put together in a batch shows in no digit of a float32 feature.
        state = {name: value.double() for name, value in self.state.items()}
        statistics = [(mean.double(), variance.double()) for mean, variance in self.statistics]
        features = torch.empty(len(x), outputs)
        with torch.no_grad():
            for part, into in zip(x.split(EXAMPLES_AT_ONCE), features.split(EXAMPLES_AT_ONCE), strict=True):
                example = scaled(part, self.offset, self.scale)
                into.copy_(self.network.forward(state, example, statistics=statistics).x[-1])
        if not features.isfinite().all():
            bad = int((~features.isfinite().all(1)).nonzero()[0])
            raise ValueError(f"the features of example {bad} are not finite, its inputs may be too large for float32")
        return features
