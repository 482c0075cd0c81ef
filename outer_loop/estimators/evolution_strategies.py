"""``evolution_strategies``: the gradient of a smoothed meta-loss from pairs of perturbed unrolls."""

from collections.abc import Sequence

import torch

from common.checked import Count, Rate
from outer_loop.estimators.antithetic import Pairs, draw_noise, run_pairs
from outer_loop.estimators.batching import by_groups
from outer_loop.estimators.contract import Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Rule, Theta


class EvolutionStrategies(Estimator):
    """Antithetic evolution strategies: E[(L(θ + σε) − L(θ − σε)) ε / 2σ] over normal ε, ∇ of E[L(θ + σε)].

    Each task has ``pairs`` perturbations of its own, of standard deviation σ = ``deviation``, drawn anew at every outer
    step. Unbiased over whole trajectories; over truncated unrolls it is blind to what θ did before, as truncated
    backpropagation is (Vicol et al., 2021, section 3). The state is carried on under θ itself, and so are the reported
    loss and accuracy. A pair with a loss that is not finite drops its task.
    """

    needs_gradient = False

    def __init__(self, deviation: Rate = 0.01, pairs: Count = 1) -> None:
        self.deviation, self.pairs = deviation, pairs

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """The mean over tasks and pairs of each pair's difference, along its perturbation."""
        noise = [draw_noise(theta, self.pairs, one.generator) for one in unrolls]
        states = [one.carried for one in unrolls]
        pairs = [Pairs(one, one, [state] * (2 * self.pairs)) for one, state in zip(noise, states, strict=True)]
        return by_groups(
            theta,
            unrolls,
            memory,
            lambda members: run_pairs(self, rule, theta, unrolls, states, pairs, members, self.deviation)[0],
        )
