"""``truncated_backprop``: the gradient through one truncated unroll, from a state that is cut off from its past."""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.checked import NotNegative
from inner_loop.state import detach_state, finite_tasks, unstack_state
from outer_loop.estimators.batching import NOTHING, Group, by_groups, losses_of, merged, over_reads
from outer_loop.estimators.contract import Estimate, Estimator, Memory, TruncatedUnroll
from update_rules.contract import Rule, Theta


class TruncatedBackprop(Estimator):
    """The gradient of the meta-objective at the read points. Metz et al. (2019), section 5.3.

    Biased where a trajectory is longer than the unroll: what θ did to the state before it is not seen. With
    ``task_clip`` above 0 each task's gradient is shortened to at most that length before the mean is taken: where
    gradients have heavy tails, one task would outvote the others (as Zhang et al., 2020, clip against such noise).
    """

    def __init__(self, task_clip: NotNegative = 0.0) -> None:
        self.task_clip = task_clip

    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """Mean gradient over the tasks with finite numbers, each task weighted the same."""
        return by_groups(theta, unrolls, memory, lambda members: self._run(rule, theta, unrolls, members))

    def _run(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], members: list[int]) -> Group:
        """The group's gradient; tasks with non-finite numbers are found, left out, and the rest runs again."""
        if not members:
            return NOTHING
        some, apart = [unrolls[index] for index in members], bool(self.task_clip)
        used = _copies(theta, len(some)) if apart else theta
        trainable = {name: value for name, value in used.items() if value.requires_grad}
        losses, accuracies, final = losses_of(self, rule, used, some, [one.carried for one in some], per_task=apart)
        good = losses.isfinite().all(0) & finite_tasks(final)
        if not bool(good.all()):
            # Masking the loss is not enough: zero times infinity in the backward pass would reach θ.
            return self._run(rule, theta, unrolls, [m for m, ok in zip(members, good.tolist(), strict=True) if ok])
        weights = some[0].read_weights
        total = over_reads(losses, weights).sum()
        gradients: Sequence[Tensor | None] = [None] * len(trainable)
        if total.requires_grad:
            gradients = torch.autograd.grad(total, list(trainable.values()), allow_unused=True)
        direction = {
            name: torch.zeros_like(value) if grad is None else grad
            for (name, value), grad in zip(trainable.items(), gradients, strict=True)
        }
        if all(bool(grad.isfinite().all()) for grad in direction.values()):
            direction = _clipped_sum(direction, self.task_clip) if apart else direction
            accuracy = float(over_reads(accuracies, weights).sum())
            return Group(direction, members, unstack_state(detach_state(final)), float(total.detach()), accuracy)
        if len(members) == 1:
            return NOTHING
        return merged([self._run(rule, theta, unrolls, [member]) for member in members])


def _copies(theta: Theta, tasks: int) -> Theta:
    """θ with what is learned anew for each of ``tasks``, [T, ...], so that each has a gradient of its own."""
    learned = {name: value.detach() for name, value in theta.items() if value.requires_grad}
    copies = {name: value.expand(tasks, *value.shape).clone().requires_grad_() for name, value in learned.items()}
    return dict(theta) | copies


def _clipped_sum(gradients: dict[str, Tensor], longest: float) -> dict[str, Tensor]:
    """The sum over tasks of ``gradients`` [T, ...], each shortened to a length of ``longest``."""
    lengths = torch.stack([grad.reshape(len(grad), -1).square().sum(1) for grad in gradients.values()]).sum(0).sqrt()
    share = longest / lengths.clamp_min(longest)
    return {name: torch.tensordot(share, grad, dims=1) for name, grad in gradients.items()}
