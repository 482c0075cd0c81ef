"""``evolution_strategies``: the gradient of a smoothed meta-loss from pairs of perturbed unrolls."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.checked import Count, Rate
from inner_loop.state import finite_tasks, unstack_state
from outer_loop.estimators.batching import NOTHING, Group, by_groups, losses_of, over_reads
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
    compiles = False

    def __init__(self, deviation: Rate = 0.01, pairs: Count = 1) -> None:
        self.deviation, self.pairs = deviation, pairs

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """The mean over tasks and pairs of each pair's difference, along its perturbation."""
        trainable = {name: value for name, value in theta.items() if value.requires_grad}
        noise = [
            {
                name: torch.randn(self.pairs, *value.shape, generator=one.generator, dtype=value.dtype).to(value.device)
                for name, value in trainable.items()
            }
            for one in unrolls
        ]
        return by_groups(theta, unrolls, memory, lambda members: self._run(rule, theta, unrolls, noise, members))

    def _run(
        self,
        rule: Rule,
        theta: Theta,
        unrolls: Sequence[TruncatedUnroll],
        noise: Sequence[dict[str, Tensor]],
        members: list[int],
    ) -> Group:
        some, tasks = [unrolls[index] for index in members], len(members)
        weights = some[0].read_weights
        # [T · pairs · 2, ...]: the two of a pair are neighbours.
        drawn = {name: torch.cat([noise[index][name] for index in members]) for name in noise[members[0]]}
        perturbed = dict(theta)
        for name, one in drawn.items():
            both = torch.stack([one, -one], 1).flatten(0, 1)
            perturbed[name] = theta[name] + self.deviation * both
        every = [one for one in some for _ in range(2 * self.pairs)]
        found = losses_of(self, rule, perturbed, every, [one.carried for one in every], per_task=True)
        middle = losses_of(self, rule, theta, some, [one.carried for one in some])
        loss, final = over_reads(middle.loss, weights), middle.final
        pairs = over_reads(found.loss, weights).view(tasks, self.pairs, 2)
        good = (pairs.isfinite().flatten(1).all(1) & loss.isfinite() & finite_tasks(final)).tolist()
        kept = [place for place, ok in enumerate(good) if ok]
        if not kept:
            return NOTHING
        slopes = (pairs[kept, :, 0] - pairs[kept, :, 1]) / (2 * self.deviation * self.pairs)
        direction = {
            name: torch.tensordot(slopes, one.view(tasks, self.pairs, *theta[name].shape)[kept], dims=2)
            for name, one in drawn.items()
        }
        places, states = [members[place] for place in kept], unstack_state(final)
        figures = (float(one[kept].sum()) for one in (loss, over_reads(middle.accuracy, weights)))
        return Group(direction, places, [states[place] for place in kept], *figures)
