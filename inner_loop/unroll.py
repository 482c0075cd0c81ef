"""Unrolling a rule: K inner steps of T tasks at once, differentiable in θ and in the starting state."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from update_rules.contract import Network, Rule, State

Theta = Mapping[str, Tensor]
"""Parameters and buffers of a rule by name, as ``functional_call`` takes them."""


def batched_step(rule: Rule, theta: Theta, network: Network) -> Callable[[State, Mapping[str, Tensor]], State]:
    """One inner step of T tasks: a function of a State [T, ...] and views [T, ...] that returns a State [T, ...]."""

    def step(state: State, views: Mapping[str, Tensor]) -> State:
        return cast(State, functional_call(rule, dict(theta), ("batched_step", network, state, views)))

    return step


class _Node(torch.autograd.Function):
    """One inner step as one node of the graph: ``_Node.apply(run, keep, *tensors)`` gives ``run(*tensors)``.

    With ``keep`` the step's own graph is kept for the backward pass, else the step runs again there. Gradients are
    summed in the same order either way, so that they are equal to the bit. (``torch.utils.checkpoint`` would hook every
    tensor that the step saves, which costs more than a small step itself.)
    """

    @staticmethod
    def forward(ctx: Any, run: Callable[..., tuple[Tensor, ...]], keep: bool, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.run, ctx.graph = run, None
        if keep:
            ctx.graph = _graph(run, tensors, ctx.needs_input_grad[2:])
            return tuple(result.detach() for result in ctx.graph[1])
        ctx.save_for_backward(*tensors)
        return run(*tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, results = ctx.graph or _graph(ctx.run, ctx.saved_tensors, ctx.needs_input_grad[2:])
        ctx.graph = None
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        moving = [(result, grad) for result, grad in zip(results, grads, strict=True) if result.requires_grad]
        found = iter(
            torch.autograd.grad(
                [result for result, _ in moving], wanted, [grad for _, grad in moving], allow_unused=True
            )
        )
        return None, None, *(next(found) if tensor.requires_grad else None for tensor in inputs)


def _graph(
    run: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Fresh leaves for ``tensors`` and what ``run`` makes of them, with the graph between."""
    leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needed, strict=True)]
    with torch.enable_grad():
        return leaves, run(*leaves)


def differentiable_step(
    rule: Rule, theta: Theta, network: Network, state: State, views: Mapping[str, Tensor], *, recompute: bool
) -> State:
    """``batched_step`` as one node of the graph, which with ``recompute`` keeps its arguments and nothing else."""
    names, keys = list(theta), list(state)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, tensors[: len(names)], strict=True))
        new = batched_step(rule, weights, network)(dict(zip(keys, tensors[len(names) :], strict=True)), views)
        return tuple(new[key] for key in keys)

    results = cast(tuple[Tensor, ...], _Node.apply(run, not recompute, *theta.values(), *state.values()))
    return dict(zip(keys, results, strict=True))


def unroll(
    rule: Rule,
    theta: Theta,
    network: Network,
    state: State,
    views: Mapping[str, Tensor],
    *,
    read_points: Sequence[int],
    recompute: bool = True,
) -> list[State]:
    """The States [T, ...] after each of ``read_points`` (rising counts of steps from 0; the last one ends the unroll).

    ``views`` holds one tensor [K, T, ...] for each view that the rule consumes; a rule never sees another one. With
    ``recompute`` only the states between steps are kept, and each step runs again in the backward pass: the gradient is
    the same to the bit and memory nearly independent of K. It is a gradient in θ and in the starting state, once.
    Raises ValueError when a view is missing, K is too small or points do not rise.
    """
    missing = [name for name in rule.consumes if name not in views]
    if missing:
        raise ValueError(f"rule {rule.name} consumes the views {list(rule.consumes)}, got {list(views)}")
    consumed = {name: views[name] for name in rule.consumes}
    available = min((view.shape[0] for view in consumed.values()), default=read_points[-1])
    if list(read_points) != sorted(set(read_points)) or read_points[0] < 0 or read_points[-1] > available:
        raise ValueError(
            f"got read points {list(read_points)}, expected rising counts from 0 to at most {available} steps"
        )
    step = batched_step(rule, theta, network)
    reads = []
    for point in range(read_points[-1] + 1):
        if point > 0:
            now = {name: view[point - 1] for name, view in consumed.items()}
            if torch.is_grad_enabled():
                state = differentiable_step(rule, theta, network, state, now, recompute=recompute)
            else:
                state = step(state, now)
        if point in read_points:
            reads.append(state)
    return reads
