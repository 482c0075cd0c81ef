"""What hand-written local rules share: every layer learns from its own input and output alone, at one learned rate.

Shapes: B examples, D inputs and N units of a layer.
"""

from math import log

import torch
from torch import Tensor, nn

from common.checked import Rate
from update_rules.contract import UNLABELLED, Problem, Rule, State, StepViews

TINY = 1e-8


class Layerwise(Rule):
    """w ← w + rate · ``change``, layer by layer, of inputs brought to a mean squared length of 1; biases stay 0.

    θ is the logarithm of the rate, and what a rule adds, so that a hand-written rule is tuned as a learned one is.
    """

    equivariant = frozenset({"units", "inputs", "examples"})
    centred = True
    """Whether a layer learns from inputs less their mean over the batch."""

    def __init__(self, rate: Rate = 0.1) -> None:
        super().__init__()
        self.log_rate = nn.Parameter(torch.tensor(log(rate)))

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """Columns of weights of expected length 1, and biases of 0."""
        shapes = problem.network.shapes
        drawn = {name: torch.randn(shape, generator=generator) / shape[0] ** 0.5 for name, shape in shapes.items()}
        return {name: value if name.startswith("w") else torch.zeros_like(value) for name, value in drawn.items()}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """Every layer's change, of what it sees in one forward pass."""
        seen, after = problem.network.forward(state, views[UNLABELLED]), dict(state)
        for layer in range(1, len(problem.network.sizes)):
            x, w = seen.x[layer - 1], state[f"w{layer}"]
            if self.centred:
                x = x - x.mean(0)
            x = x * torch.rsqrt((x * x).sum(1).mean() + TINY)
            after[f"w{layer}"] = w + self.log_rate.exp() * self.change(x, x @ w, w)
        return after

    def change(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """The direction [D, N] in which weights ``w`` go, of inputs ``x`` [B, D] and outputs ``y`` = ``x w`` [B, N]."""
        raise NotImplementedError

    def describe(self) -> dict[str, float]:
        """The rate."""
        return {"rate": self.log_rate.exp().item()}
