"""``persistent_es``: evolution strategies over truncated unrolls that remember how each state came to be."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.checked import Count, Rate
from inner_loop.state import stack_states, unstack_state
from outer_loop.estimators.antithetic import Noise, Pairs, draw_noise, run_pairs
from outer_loop.estimators.batching import Group, by_groups
from outer_loop.estimators.contract import Carried, Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Rule, State, Theta

STATE, NOISE, SUM, AGE = "pairs/state/", "pairs/noise/", "pairs/sum/", "pairs/age"
"""Under which names a trajectory carries, beside the State under θ: those of its pairs, their noise now and in all, and
for how many inner steps that of now has been used."""


class PersistentES(Estimator):
    """Persistent evolution strategies (Vicol et al., 2021), antithetic: unbiased over whole trajectories.

    Each task has ``pairs`` of trajectories of its own, each of which goes on from its own state under θ + σε or θ − σε,
    with another ε in every outer step (σ = ``deviation``). Slopes go along the sum of all ε since the start, so that
    what θ did before an unroll counts. Loss, accuracy and what is carried under the State's own names are those of θ
    itself. A pair with a loss that is not finite drops its task.
    """

    needs_gradient = False

    def __init__(self, deviation: Rate = 0.01, pairs: Count = 1) -> None:
        self.deviation, self.pairs = deviation, pairs

    def start(self, rule: Rule, theta: Theta, state: State, generator: torch.Generator) -> Carried:
        """The State, for θ itself and for every pair, and no noise yet."""
        none = {name: torch.zeros(self.pairs, *v.shape, dtype=v.dtype) for name, v in theta.items() if v.requires_grad}
        return {
            **state,
            **{STATE + name: value for name, value in stack_states([state] * (2 * self.pairs)).items()},
            **{kind + name: value.to(theta[name].device) for kind in (NOISE, SUM) for name, value in none.items()},
            AGE: torch.zeros(()),
        }

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """The mean over tasks and pairs of each pair's difference, along the sum of its perturbations."""
        states = [_own(one.carried) for one in unrolls]
        pairs, ages = [], []
        for one in unrolls:
            noise, along, age = _under(one.carried, NOISE), _under(one.carried, SUM), one.carried[AGE]
            if self._draws(float(age)):
                noise = draw_noise(theta, self.pairs, one.generator)
                along = {name: value + noise[name] for name, value in along.items()}
                age = torch.zeros_like(age)
            pairs.append(Pairs(noise, along, unstack_state(_under(one.carried, STATE))))
            ages.append(age + one.read_points[-1])

        def run(members: list[int]) -> Group:
            group, ends = run_pairs(self, rule, theta, unrolls, states, pairs, members, self.deviation)
            carried = [
                self._carried(state, pairs[place], ages[place], end)
                for state, place, end in zip(group.carried, group.kept, ends, strict=True)
            ]
            return group._replace(carried=carried)

        return by_groups(theta, unrolls, memory, run)

    def _draws(self, age: float) -> bool:
        """Whether noise that has been used for ``age`` inner steps, 0 for none, gives way to other noise."""
        return True

    def _carried(self, state: State, pairs: Pairs, age: Tensor, ends: Sequence[State]) -> Carried:
        return {
            **state,
            **{STATE + name: value for name, value in stack_states(ends).items()},
            **{NOISE + name: value for name, value in pairs.noise.items()},
            **{SUM + name: value for name, value in pairs.along.items()},
            AGE: age,
        }


def _own(carried: Carried) -> State:
    return {name: value for name, value in carried.items() if not name.startswith("pairs/")}


def _under(carried: Carried, kind: str) -> Noise:
    return {name.removeprefix(kind): value for name, value in carried.items() if name.startswith(kind)}
