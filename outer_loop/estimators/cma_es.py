"""``cma_es``: black-box search over θ by CMA-ES (Hansen, 2016), as a control of equal budget for gradients."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from cmaes import CMA
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from common.checked import Whole
from inner_loop.state import finite_tasks
from outer_loop.estimators.batching import NOTHING, Group, by_groups, group_of, losses_of, over_reads
from outer_loop.estimators.contract import Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Rule, Theta

Deviation = Annotated[float, Field(gt=0, le=1e3)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

START, FITNESS = "start", "fitness"
"""What the memory holds: θ as it was, [M], and the mean loss of every member of every generation, [G, P]."""


class CmaEs(Estimator):
    """An outer step is a generation: every member's meta-loss over whole trajectories, on the same tasks.

    θ is the mean of the distribution, whose first standard deviation is ``deviation``. ``population`` 0 is what CMA-ES
    takes by itself, 4 + 3 ln M of M numbers. Members are drawn from ``seed``, so that all ranks have the same. A member
    whose loss is not finite is the worst of its generation. What was found so far is told again to go on from a memory.
    """

    needs_gradient = False
    whole_trajectories = True

    def __init__(self, deviation: Deviation = 0.1, population: Whole = 0, seed: Seed = 0) -> None:
        if population in (1, 2):
            raise ValueError(f"got a population of {population}, expected 0 or 3 and more")
        self.deviation, self.population, self.seed = deviation, population, seed
        self._search: CMA | None = None
        self._told: Memory = {}
        self._members: list[NDArray[np.float64]] = []

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """No direction; the memory with the losses of one more generation."""
        learned = {name: value for name, value in theta.items() if value.requires_grad}
        memory = {name: value.cpu() for name, value in memory.items()}
        memory = memory or {START: torch.cat([value.flatten() for value in learned.values()]).double().cpu()}
        self._tell(memory)
        assert self._search is not None
        self._members = self._members or [self._search.ask() for _ in range(self._search.population_size)]
        members = torch.from_numpy(np.stack(self._members))
        total = torch.zeros(len(members), dtype=torch.float64)

        def run(places: list[int]) -> Group:
            group, losses = self._run(rule, theta, _as_theta(members, learned), unrolls, places)
            total.add_(losses)
            return group

        found = by_groups(theta, unrolls, memory, run)
        fitness = (total / max(found.kept, 1)).nan_to_num(nan=torch.inf)
        past = memory.get(FITNESS, fitness.new_zeros(0, len(fitness)))
        found.memory = {START: memory[START], FITNESS: torch.cat([past, fitness[None]])}
        return found

    def _run(
        self, rule: Rule, theta: Theta, members: Theta, unrolls: Sequence[TruncatedUnroll], places: list[int]
    ) -> tuple[Group, Tensor]:
        """The group of the unrolls at ``places`` under θ itself, and the sum over those kept of each member's loss."""
        some = [unrolls[place] for place in places]
        count, weights = len(next(iter(members.values()))), some[0].read_weights
        middle = losses_of(self, rule, theta, some, [one.carried for one in some])
        loss = over_reads(middle.loss, weights)
        good = loss.isfinite() & finite_tasks(middle.final)
        kept = [place for place, ok in enumerate(good.tolist()) if ok]
        if not kept:
            return NOTHING, torch.zeros(count, dtype=torch.float64)
        every = [some[place] for place in kept for _ in range(count)]
        own = dict(theta) | {name: value.repeat(len(kept), *[1] * (value.dim() - 1)) for name, value in members.items()}
        found = losses_of(self, rule, own, every, [one.carried for one in every], per_task=True)
        losses = over_reads(found.loss, weights).view(len(kept), count).double().cpu().sum(0)
        zeros = {name: torch.zeros_like(theta[name]) for name in members}
        return group_of(middle, zeros, places, kept, weights), losses

    def chosen(self, rule: Rule, memory: Memory) -> dict[str, Tensor]:
        """The mean of the distribution after all that ``memory`` tells."""
        self._tell(memory)
        assert self._search is not None
        learned = {name: value for name, value in rule.named_parameters() if value.requires_grad}
        mean = torch.from_numpy(self._search.mean.copy())[None]
        return {name: value[0] for name, value in _as_theta(mean, learned).items()}

    def _tell(self, memory: Memory) -> None:
        """Bring the search to where ``memory`` is: on from where it stands if that is on the way, else anew."""
        start = memory[START].cpu().float().double()  # as it was, whatever a mean over ranks rounded
        fitness = memory.get(FITNESS, torch.zeros(0, 0, dtype=torch.float64)).cpu()
        done = len(self._told[FITNESS]) if self._told else 0
        if not self._goes_on(start, fitness[:done]):
            done, self._members = 0, []
            size = self.population or None
            self._search = CMA(start.numpy(), self.deviation, seed=self.seed, population_size=size)
        assert self._search is not None
        for row in fitness[done:].tolist():
            members = self._members or [self._search.ask() for _ in row]
            self._search.tell(list(zip(members, row, strict=True)))
            self._members = []
        self._told = {START: start, FITNESS: fitness}

    def _goes_on(self, start: Tensor, done: Tensor) -> bool:
        """Whether what was told begins at ``start`` and is ``done``, but for what means over ranks round."""
        if not self._told or not torch.equal(self._told[START], start):
            return False
        told = self._told[FITNESS]
        return len(told) == len(done) and (not len(done) or torch.allclose(told, done, rtol=1e-12, atol=0))


def _as_theta(rows: Tensor, learned: Theta) -> dict[str, Tensor]:
    """``rows`` [P, M] as values of what is learned, [P, ...] by name."""
    parts = rows.split([value.numel() for value in learned.values()], 1)
    return {
        name: part.reshape(len(rows), *value.shape).to(value)
        for part, (name, value) in zip(parts, learned.items(), strict=True)
    }
