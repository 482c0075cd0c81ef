"""Gradient descent on a few labelled examples, from a learned start and maybe at learned rates: MAML and MAML++.

Finn et al. (2017), algorithm 1; learned rates after Antoniou et al. (2019), section 4. θ' = θ − α ∇ L(θ) with L the
*mean* cross-entropy over the support examples. Code of others sums over examples or over classes: a rate α there is
α · S or α · ways here (S support examples). CACTUs' 0.05 is 0.25 for tasks of 5 ways, UMTRA's 0.01 is 0.05.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad

from update_rules.contract import SUPPORT, Activations, Problem, State, StepViews
from update_rules.gradient.learned_start import LearnedStart


class Maml(LearnedStart):
    """Gradient descent on the support cross-entropy of the network's own logits. θ: the start, and maybe the rates.

    ``weights`` are the shapes of the start, drawn from ``seed``; ``rate`` is the inner rate. With ``learned_rates``
    there is one for each layer and each of ``steps`` inner steps, which start there; further steps use the last ones.
    Normalisation in inner steps is by the support examples. The buffer ``second_order``, not written to files, says by
    its length, 1 or 0, whether the meta-gradient goes through the gradients of inner steps (reading a value would wait
    for the device). It does not in the ``first_order`` outer steps at the start of meta-training. Raises ValueError for
    shapes that cannot be read, a rate that is not positive, fewer steps than one, or a negative ``first_order``.
    """

    name = "maml"
    consumes = SUPPORT
    gives = "logits"
    rates: nn.Parameter
    second_order: Tensor

    def __init__(
        self,
        weights: str,
        rate: float = 0.4,
        learned_rates: bool = False,
        steps: int = 5,
        first_order: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(weights, seed)
        for option, value in (("rate", rate), ("steps", steps)):
            if not 0 < value < float("inf"):
                raise ValueError(f"got {option} {value} for the maml rule, expected a positive number")
        if first_order < 0:
            raise ValueError(f"got first_order {first_order} for the maml rule, expected 0 or more outer steps")
        self.rate, self.learned_rates, self.first_order = rate, learned_rates, first_order
        if learned_rates:
            layers = max(int(name[1:]) for name in self.start)
            self.rates = nn.Parameter(torch.full((steps, layers), float(rate)))
        self.register_buffer("second_order", torch.zeros(1), persistent=False)

    def theta_at(self, outer_step: int) -> dict[str, Tensor]:
        """θ, without second derivatives in the first ``first_order`` outer steps."""
        theta = super().theta_at(outer_step)
        if outer_step < self.first_order:
            theta["second_order"] = theta["second_order"][:0]
        return theta

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step on ``support_x`` [S, D] and ``support_y`` [S] in 0..ways-1."""
        x, y = (views[name] for name in SUPPORT)
        started = self.started(problem.network)
        moved = {name: state[name] for name in started}

        def loss(moved: State) -> Tensor:
            weights = {name: start + moved[name] for name, start in started.items()}
            return F.cross_entropy(self.output(problem.network.forward(weights, x)), y)

        # Without second derivatives no graph is made of the gradients, which saves most of the backward pass.
        with torch.set_grad_enabled(torch.is_grad_enabled() and len(self.second_order) > 0):
            gradients = grad(loss)(moved)
        rates: Any = [self.rate] * len(moved)
        if self.learned_rates:
            rates = self.rates.index_select(0, state["t"].long().clamp(max=len(self.rates) - 1).reshape(1))[0]
        change = {name: one - rates[int(name[1:]) - 1] * gradients[name] for name, one in moved.items()}
        return {"t": state["t"] + 1, **change}

    def output(self, activations: Activations) -> Tensor:
        """The logits [B, ways]: the last layer before its activation."""
        return activations.z[-1]

    def describe(self) -> dict[str, float]:
        """The mean rate of each inner step, where they are learned."""
        if not self.learned_rates:
            return {}
        return {f"rate/{step}": float(rates.mean()) for step, rates in enumerate(self.rates.detach(), start=1)}
