"""What a rule has made of unlabelled data, with all that it takes to embed examples one by one."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from common.notice import notice
from common.torch_defaults import usual_defaults
from update_rules.contract import Problem, Rule, State, Statistics

EXAMPLES_AT_ONCE = 4096
"""Examples embedded in one pass, which bounds the memory of the activations."""

FEW = 64
"""Examples whose features usually show that they differ."""

SPREADS = 10
"""Times that new inputs may be larger or smaller than those of training; the fewest that are told to be smaller."""


def scaled(x: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """(x - offset) / scale in float64 [n, D], from ``x`` [n, D] of any floating dtype, offset and scale float64 [D]."""
    return (x - offset) / scale


@dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """The ``state`` that ``rule`` came to on ``problem``, and the frozen ``statistics`` that normalise examples.

    Inputs are scaled first, in float64, since columns such as dates may differ only in digits that float32 has not.
    ``spread`` is that of the scaled inputs it was trained on, None where it is not known; ``inputs`` what else its user
    keeps of them, as JSON has it.
    """

    rule: Rule
    problem: Problem
    state: State
    statistics: Statistics
    offset: Tensor
    scale: Tensor
    spread: float | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    @usual_defaults()
    def embed(self, x: Tensor) -> Tensor:
        """Features float32 [n, N] of ``x`` [n, D], each from its example alone. Raises ValueError if not finite.

        Examples that spread more than SPREADS times as far as those of training, or less, are noticed.
        """
        features = self._features(x)
        self._compare_spread(x)
        return features

    @usual_defaults()
    def check_features(self, x: Tensor) -> None:
        """Raise ValueError where the features of ``x`` [n, D], n >= 2, are all the same, or are not finite."""
        for count in (FEW, EXAMPLES_AT_ONCE):  # many only where a few come out the same
            some = x[:count]
            features = self._features(some)
            if bool((features != features[0]).any()):
                return
        same = bool((some == some[0]).all())
        what = "all examples are the same" if same else "the rule made the network blind to its inputs"
        raise ValueError(f"features come out the same for every example: {what}; look at the data and their scale")

    def _features(self, x: Tensor) -> Tensor:
        width = self.problem.inputs
        if x.dim() != 2 or x.shape[1] != width:
            raise ValueError(f"got examples of shape {list(x.shape)}, expected [examples, {width}] for this network")
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

    def _compare_spread(self, x: Tensor) -> None:
        """Notice where ``x`` [n, D] must have been scaled in another way than the examples of training."""
        if not self.spread:
            return
        sample = x[:EXAMPLES_AT_ONCE]
        ratio = spread_of(scaled(sample, self.offset, self.scale)) / self.spread
        if ratio > SPREADS or (ratio < 1 / SPREADS and len(sample) >= SPREADS):
            notice(f"inputs are {ratio:.3g} times as large as those that the network was trained on; scale them alike")


def spread_of(x: Tensor) -> float:
    """The root mean square of ``x``."""
    return float(x.double().square().mean().sqrt())
