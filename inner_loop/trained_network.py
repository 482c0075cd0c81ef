"""What a rule has made of unlabelled data, with all that it takes to embed examples one by one."""

from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from update_rules.contract import Problem, Rule, State, Statistics

EXAMPLES_AT_ONCE = 4096
"""Examples embedded in one pass, which bounds the memory of the activations."""


def scaled(x: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """(x - offset) / scale in float64 [n, D], from ``x`` [n, D] of any floating dtype, offset and scale float64 [D]."""
    return (x - offset) / scale


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The ``state`` that ``rule`` came to on ``problem``, and the frozen ``statistics`` that normalise examples.

    Inputs are scaled first, in float64, since columns such as dates may differ only in digits that float32 has not.
    """

    rule: Rule
    problem: Problem
    state: State
    statistics: Statistics
    offset: Tensor
    scale: Tensor

    def embed(self, x: Tensor) -> Tensor:
        """Features float32 [n, N] of ``x`` [n, D], each from its example alone. Raises ValueError if not finite."""
        inputs = self.problem.inputs
        if x.dim() != 2 or x.shape[1] != inputs:
            raise ValueError(f"got examples of shape {list(x.shape)}, expected [examples, {inputs}] for this network")
        # In float64, so that how examples are put together in a batch shows in no digit of a float32 feature.
        rule = deepcopy(self.rule).double()
        state, statistics = (
            {name: value.double() for name, value in part.items()} for part in (self.state, self.statistics)
        )
        with torch.no_grad():
            parts = [
                rule.features(self.problem, state, scaled(part, self.offset, self.scale), statistics).float()
                for part in x.split(EXAMPLES_AT_ONCE)
            ]
        features = torch.cat(parts)
        if not features.isfinite().all():
            bad = int((~features.isfinite().all(1)).nonzero()[0])
            raise ValueError(f"the features of example {bad} are not finite, its inputs may be too large for float32")
        return features
