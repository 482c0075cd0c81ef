"""Unrolling a rule: K inner steps of T tasks at once, differentiable in θ and in the starting state.

θ is shared by the tasks or, with ``per_task``, [T, ...] in some parameters, as of estimators that perturb it.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from itertools import pairwise
from math import isqrt
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from update_rules.contract import Phase, Problem, Rule, State, StepViews, Theta, over_tasks

Step = Callable[[State, StepViews, str], State]
"""One inner step of T tasks: a State [T, ...], views [T, ...] and the phase give a State [T, ...]."""

StepOfTheta = Callable[[Theta, State, StepViews, str], State]
"""The same, given θ."""

LONG = 25
"""Inner steps from which on States between steps take more memory than they are worth."""

COMPILED = 64
"""Compiled steps that are kept."""


def theta_of(rule: Rule) -> dict[str, Tensor]:
    """The θ of ``rule`` as it is: its own tensors, not copies."""
    return dict(rule.named_parameters()) | dict(rule.named_buffers())


def theta_axes(rule: Rule, theta: Theta) -> dict[str, int | None]:
    """For ``vmap``: 0 for the names of ``theta`` that have a value for each task, None for those that are shared."""
    own = theta_of(rule)
    return {name: 0 if value.dim() > own[name].dim() else None for name, value in theta.items()}


def batched_step(rule: Rule, theta: Theta, problem: Problem, *, per_task: bool = False, compiled: bool = False) -> Step:
    """One inner step of T tasks; ``compiled`` takes it through ``torch.compile``, once for each rule, problem and T."""
    axes = theta_axes(rule, theta) if per_task else {}
    several = tuple(name for name, axis in axes.items() if axis == 0)
    if compiled:
        return partial(_compiled(rule, problem, several), dict(theta))
    # Of a θ that is shared all the same, the plain step is wanted: one by hand may have no derivative in forward mode.
    by_hand = not per_task or (rule.theta_per_task and several)
    step = _whole(rule, problem) if by_hand else _each(rule, problem, several, rule.batching)
    return partial(step, dict(theta))


def _whole(rule: Rule, problem: Problem) -> StepOfTheta:
    """The rule's own step of all tasks."""

    def step(theta: Theta, state: State, views: StepViews, phase: str) -> State:
        return cast(State, functional_call(rule, dict(theta), ("batched_step", problem, state, views, phase)))

    return step


def _each(rule: Rule, problem: Problem, several: tuple[str, ...], batching: Literal["vmap", "loop"]) -> StepOfTheta:
    """The step of each task, which has ``several`` of θ for itself."""

    def step(theta: Theta, state: State, views: StepViews, phase: str) -> State:
        def one(state: State, views: StepViews, own: Theta) -> State:
            return cast(State, functional_call(rule, {**theta, **own}, ("step", problem, state, views, phase)))

        return over_tasks(batching, one, state, views, {name: theta[name] for name in several})

    return step


@lru_cache(maxsize=COMPILED)
def _compiled(rule: Rule, problem: Problem, several: tuple[str, ...]) -> StepOfTheta:
    """A compiled step, with ``several`` of θ by task. Kept, since compiling takes minutes."""
    # All of these share one code object, for which torch allows few versions unless told otherwise.
    torch._dynamo.config.recompile_limit = COMPILED
    step = _whole(rule, problem) if rule.compiled_batch else _each(rule, problem, several, "vmap")
    return cast(StepOfTheta, torch.compile(step, dynamic=False, fullgraph=True))


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
        return run(*(tensor.detach() for tensor in tensors))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, results = ctx.graph or _graph(ctx.run, ctx.saved_tensors, ctx.needs_input_grad[2:])
        ctx.graph = None
        wanted = [tensor for tensor in inputs if tensor.requires_grad]
        moving = [(result, grad) for result, grad in zip(results, grads, strict=True) if result.requires_grad]
        found = iter(torch.autograd.grad([r for r, _ in moving], wanted, [g for _, g in moving], allow_unused=True))
        return None, None, *(next(found) if tensor.requires_grad else None for tensor in inputs)


def _graph(
    run: Callable[..., tuple[Tensor, ...]], tensors: Sequence[Tensor], needed: Sequence[bool]
) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Fresh leaves for ``tensors`` and what ``run`` makes of them, with the graph between."""
    leaves = [tensor.detach().requires_grad_(need) for tensor, need in zip(tensors, needed, strict=True)]
    with torch.enable_grad():
        return leaves, run(*leaves)


def _as_node(
    make_step: Callable[[Theta], Step],
    theta: Theta,
    state: State,
    steps: Sequence[Callable[[], tuple[StepViews, str]]],
    *,
    recompute: bool,
) -> State:
    """The State after ``steps``, each given by its views and phase, as one node of the graph.

    With ``recompute`` it keeps its arguments and nothing else. Of several steps each is again a node within it.
    """
    names, keys = list(theta), list(state)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        weights = dict(zip(names, tensors[: len(names)], strict=True))
        new: State = dict(zip(keys, tensors[len(names) :], strict=True))
        if len(steps) == 1:
            new = make_step(weights)(new, *steps[0]())
        else:
            for step in steps:
                new = _as_node(make_step, weights, new, [step], recompute=recompute)
        return tuple(new[key] for key in keys)

    results = cast(tuple[Tensor, ...], _Node.apply(run, not recompute, *theta.values(), *state.values()))
    return dict(zip(keys, results, strict=True))


def unroll(
    rule: Rule,
    theta: Theta,
    problem: Problem,
    state: State,
    views: Mapping[str, Tensor | Sequence[Tensor]],
    *,
    read_points: Sequence[int],
    recompute: bool = True,
    compiled: bool = False,
    per_task: bool = False,
) -> list[State]:
    """The States [T, ...] after each of ``read_points`` (rising counts of steps from 0; the last one ends the unroll).

    ``views`` holds K tensors [T, ...] for each view that the rule consumes, or one of [K, T, ...]; a rule never sees
    another one. With ``recompute`` only the States between steps are kept, and each step runs again in the backward
    pass. ``LONG`` steps or more go in segments of sqrt(K): then only the States between these are kept, and each step
    runs once more. The gradient, in θ and in the starting state, once, is the same to the bit. ``compiled`` and
    ``per_task`` are for ``batched_step``. Raises ValueError when a view is missing, K too small or points do not rise.
    """
    missing = [name for name in rule.consumes if name not in views]
    if missing:
        raise ValueError(f"rule {rule.name} consumes the views {list(rule.consumes)}, got {list(views)}")
    consumed = {name: views[name] for name in rule.consumes}
    last = read_points[-1]
    available = min((len(view) for view in consumed.values()), default=last)
    if list(read_points) != sorted(set(read_points)) or read_points[0] < 0 or last > available:
        raise ValueError(
            f"got read points {list(read_points)}, expected rising counts from 0 to at most {available} steps"
        )
    seen = [phase for phase in rule.phases(last) for _ in range(phase.steps)]
    make_step = partial(batched_step, rule, problem=problem, per_task=per_task, compiled=compiled)
    segment = isqrt(last) if last >= LONG and torch.is_grad_enabled() else 1
    ends = sorted({*read_points, *range(0, last, segment), last})
    reads = [state] if read_points[0] == 0 else []
    for start, end in pairwise(ends):
        steps = [partial(_views_of, consumed, seen[step], step) for step in range(start, end)]
        if torch.is_grad_enabled():
            state = _as_node(make_step, theta, state, steps, recompute=recompute)
        else:
            state = make_step(theta)(state, *steps[0]())
        if end in read_points:
            reads.append(state)
    return reads


def _views_of(views: Mapping[str, Tensor | Sequence[Tensor]], phase: Phase, step: int) -> tuple[StepViews, str]:
    return {name: views[name][step] for name in phase.views}, phase.name
