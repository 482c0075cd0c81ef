"""Chains of the Metz rule's convolutions for T tasks at once, with their backward pass written by hand.

Arrays are [T, C, B, N]: T tasks, C channels, B examples, N units. A task's batch norm is a group norm of a channel.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from update_rules.metz.convolutions import EXAMPLES, UNITS, convolve, convolve_backward
from update_rules.metz.layers import NORM_EPS, ConvolutionNorm, UnitBlock


class Stage(NamedTuple):
    """A convolution along ``axis``, batch norm and relu."""

    axis: int
    adds: bool = False
    """Whether what the stage before it took is added to the result."""


def over_examples(blocks: Iterable[nn.Module], x: Tensor) -> Tensor:
    """``ConvolutionNorm`` blocks over the examples, one after the other: [T, C_in, B, N] to [T, C_out, B, N]."""
    layers = [cast(ConvolutionNorm, block) for block in blocks]
    return chain(x, [Stage(EXAMPLES)] * len(layers), layers)


def over_both(examples: Iterable[nn.Module], units: Iterable[nn.Module], x: Tensor) -> Tensor:
    """Pairs of a ``ConvolutionNorm`` over the examples and a ``UnitBlock``, one after the other."""
    stages: list[Stage] = []
    layers: list[ConvolutionNorm] = []
    for first, second in zip(examples, units, strict=True):
        block = cast(UnitBlock, second)
        stages += [Stage(EXAMPLES), Stage(UNITS), Stage(UNITS, adds=True)]
        layers += [cast(ConvolutionNorm, first), block.first, block.second]
    return chain(x, stages, layers)


def chain(x: Tensor, stages: Sequence[Stage], layers: Sequence[ConvolutionNorm]) -> Tensor:
    """``layers`` run as ``stages`` say on ``x`` [T, C_in, B, N]; differentiable once."""
    # A convolution's bias has no effect before a batch norm and is left out.
    theta = [tensor for layer in layers for tensor in (layer.convolution.weight, layer.norm.offset)]
    if torch.is_grad_enabled():
        return cast(Tensor, _Chain.apply(stages, x, *theta))
    before = x
    for stage, weight, offset in zip(stages, theta[::2], theta[1::2], strict=True):
        out = _group_norm(convolve(x, weight, stage.axis), offset)[0].relu_()
        before, x = x, out.add_(before) if stage.adds else out
    return x


def _group_norm(y: Tensor, offset: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The normalised ``y`` plus ``offset``, the means and 1 / standard deviations."""
    tasks, channels, examples, units = y.shape
    return torch.native_group_norm(y, None, offset, tasks, channels, examples * units, channels, NORM_EPS)


class _Chain(torch.autograd.Function):
    """``chain`` with its backward pass: ``_Chain.apply(stages, x, weight, offset, weight, offset, …)``."""

    @staticmethod
    def forward(ctx: Any, stages: Sequence[Stage], x: Tensor, *theta: Tensor) -> Tensor:
        """The result."""
        kept = []
        before = x
        for stage, weight, offset in zip(stages, theta[::2], theta[1::2], strict=True):
            y = convolve(x, weight, stage.axis)
            out, mean, inverse = _group_norm(y, offset)
            kept += [x, weight, y, mean, inverse, out.relu_()]
            before, x = x, out + before if stage.adds else out
        ctx.stages = stages
        ctx.save_for_backward(*kept)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments, in their order."""
        saved = ctx.saved_tensors
        found: list[Tensor] = []
        added: Tensor | None = None  # the gradient that went around the two stages of a residual block
        g: Tensor | None = grad
        ones = grad.new_ones(grad.shape[1])  # scales: without any, PyTorch has no gradient of the offset
        for index in range(len(ctx.stages) - 1, -1, -1):
            stage = ctx.stages[index]
            x, weight, y, mean, inverse, out = saved[6 * index : 6 * index + 6]
            tasks, channels, examples, units = y.shape
            through = torch.ops.aten.threshold_backward(g, out, 0)
            g_y, _, g_offset = torch.ops.aten.native_group_norm_backward(
                through, y, mean, inverse, ones, tasks, channels, examples * units, channels, [True, False, True]
            )
            kept, added = added, g if stage.adds else None
            g, g_weight = convolve_backward(g_y, x, weight, stage.axis, index > 0 or ctx.needs_input_grad[1])
            if kept is not None and g is not None:
                g.add_(kept)
            found = [g_weight, g_offset, *found]
        return None, g, *found
