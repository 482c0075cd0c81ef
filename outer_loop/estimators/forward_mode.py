"""``forward_mode``: the exact gradient over any horizon, by carrying what each number of θ has done to the state.

Shapes: T tasks, R read points, P numbers of θ that are learned.
"""

import warnings
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.func import jvp, vmap

from common.checked import Count
from inner_loop.state import finite_tasks, stack_states, unstack_state
from outer_loop.estimators.batching import NOTHING, Group, by_groups, losses_of, over_reads
from outer_loop.estimators.contract import Carried, Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Rule, State, Theta

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch makes its own derivatives by what it has deprecated
    import torch._decomp.decompositions_for_jvp

TANGENT = "tangent/"
"""Under which names a trajectory carries, beside its State, its derivatives in θ, [P, ...]."""


class ForwardMode(Estimator):
    """Forward-mode differentiation of truncated unrolls from states with a past (Williams and Zipser, 1989).

    The derivative of the State in each number of θ goes on from one outer step to the next, so that nothing is cut off,
    and no memory grows with the number of inner steps. It is exact while θ stays as it is, and costs a forward pass for
    each number of θ: for rules of up to a few hundred. ``chunk`` of them go at once.
    """

    compiles = False

    def __init__(self, chunk: Count = 64) -> None:
        self.chunk = chunk

    def start(self, rule: Rule, theta: Theta, state: State, generator: torch.Generator) -> Carried:
        """The State, which θ has done nothing to yet."""
        count = sum(value.numel() for value in theta.values() if value.requires_grad)
        return state | {TANGENT + name: value.new_zeros(count, *value.shape) for name, value in state.items()}

    @torch.no_grad()
    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """Mean gradient over the tasks with finite numbers, each task weighted the same.

        Raises ValueError for a rule whose step has no derivative in forward mode.
        """
        return by_groups(theta, unrolls, memory, lambda members: self._run(rule, theta, unrolls, members))

    def _run(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], members: list[int]) -> Group:
        some = [unrolls[index] for index in members]
        weights = some[0].read_weights
        learned = {name: value.detach() for name, value in theta.items() if value.requires_grad}
        carried = stack_states([one.carried for one in some])
        state = {name: value for name, value in carried.items() if not name.startswith(TANGENT)}
        behind = {name: carried[TANGENT + name].transpose(0, 1) for name in state}  # [P, T, ...]

        def losses(own: dict[str, Tensor], state: State) -> tuple[Tensor, State, Tensor]:
            # As if each task had a θ of its own: steps batched by hand may have no derivative in forward mode.
            found = losses_of(self, rule, {**theta, **own}, some, unstack_state(state), per_task=True)
            return over_reads(found.loss, weights), found.final, over_reads(found.accuracy, weights)

        def along(direction: dict[str, Tensor], behind: State) -> tuple[Tensor, State]:
            moved = jvp(losses, (learned, state), (direction, behind))[1]
            slope, ahead, _ = cast(tuple[Tensor, State, Tensor], moved)
            return slope, ahead

        try:
            loss, final, accuracy = losses(learned, state)
            slopes, ahead = vmap(along, chunk_size=self.chunk)(_units(learned), behind)  # [P, T], [P, T, ...]
        except (NotImplementedError, RuntimeError) as error:
            if not any(word in str(error) for word in ("jvp", "forward AD", "forward-mode")):
                raise
            raise ValueError(
                f"rule {rule.name} has a step without a derivative in forward mode, expected another estimator than "
                "forward_mode"
            ) from error
        tangents = {name: value.transpose(0, 1) for name, value in ahead.items()}  # [T, P, ...]
        good = loss.isfinite() & slopes.isfinite().all(0) & finite_tasks(final) & finite_tasks(tangents)
        kept = [place for place, ok in enumerate(good.tolist()) if ok]
        if not kept:
            return NOTHING
        parts = slopes[:, kept].sum(1).split([value.numel() for value in learned.values()])
        direction = {name: part.view_as(learned[name]) for name, part in zip(learned, parts, strict=True)}
        left = unstack_state(final | {TANGENT + name: value for name, value in tangents.items()})
        figures = (float(one[kept].sum()) for one in (loss, accuracy))
        return Group(direction, [members[place] for place in kept], [left[place] for place in kept], *figures)


def _units(theta: dict[str, Tensor]) -> dict[str, Tensor]:
    """The P unit directions of ``theta``, [P, ...] by name."""
    count = sum(value.numel() for value in theta.values())
    first = next(iter(theta.values()))
    columns = torch.eye(count, dtype=first.dtype, device=first.device).split([v.numel() for v in theta.values()], 1)
    return {name: part.reshape(count, *theta[name].shape) for name, part in zip(theta, columns, strict=True)}
