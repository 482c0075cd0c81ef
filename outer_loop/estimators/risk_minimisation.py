"""``risk_minimisation``: θ is what did best on the tasks so far, of a finite family; no gradient."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from inner_loop.state import finite_tasks, unstack_state
from outer_loop.estimators.batching import NOTHING, Group, by_groups, group_of, losses_of
from outer_loop.estimators.contract import Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Problem, Rule, State, Theta


class RiskMinimisation(Estimator):
    """Empirical risk minimisation (Garg and Kalai, 2018), for rules of choices.

    The memory is the sum of ``rule.experience`` over all tasks, and θ ``rule.learned`` of it. With ``shuffled`` the
    tasks of an outer step get the scores of each other, and one without another of its kind teaches nothing: a
    control, in which what a set looks like tells nothing of what serves on it.
    """

    needs_gradient = False
    reads = "choices"
    compiles = False

    def __init__(self, shuffled: bool = False) -> None:
        self.shuffled = shuffled

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """No direction; the memory with what these tasks taught."""
        met: list[tuple[Problem, State, Tensor]] = []
        found = by_groups(theta, unrolls, memory, lambda members: self._run(rule, theta, unrolls, members, met))
        found.memory = dict(memory)
        for place, (problem, state, index) in enumerate(met):
            if self.shuffled:
                others = [other for _, _, other in met[place + 1 :] + met[:place] if other.shape == index.shape]
                if not others:
                    continue
                index = others[0]
            taught = functional_call(rule, dict(theta), ("experience", problem, state, index))
            for name, value in cast(Memory, taught).items():
                found.memory[name] = found.memory.get(name, torch.zeros_like(value)) + value
        return found

    def _run(
        self,
        rule: Rule,
        theta: Theta,
        unrolls: Sequence[TruncatedUnroll],
        members: list[int],
        met: list[tuple[Problem, State, Tensor]],
    ) -> Group:
        """A group, after whose tasks ``met`` holds what each came to, and the index of each of its ways."""
        some = [unrolls[index] for index in members]
        found = losses_of(self, rule, theta, some, [one.carried for one in some])
        states, good = unstack_state(found.final), finite_tasks(found.final).tolist()
        kept = [place for place, ok in enumerate(good) if ok]
        if not kept:
            return NOTHING
        for place in kept:
            problem, episode = some[place].problem, some[place].episodes[-1]
            outputs = cast(Tensor, functional_call(rule, dict(theta), ("outputs", problem, states[place])))
            met.append((problem, states[place], self.objective.readout.each(outputs, episode.query_y)))
        zeros = {name: torch.zeros_like(value) for name, value in theta.items() if value.requires_grad}
        return group_of(found, zeros, members, kept, some[0].read_weights)

    def chosen(self, rule: Rule, memory: Memory) -> dict[str, Tensor]:
        """θ that is best by ``memory``."""
        return cast(dict[str, Tensor], rule("learned", memory))
