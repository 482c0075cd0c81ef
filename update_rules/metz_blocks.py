"""The convolutions of the Metz rule for T tasks at once, with their backward passes written by hand.

Arrays are *padded*, channels first: [C, T, N+1, B+1], with zeros at unit N and at example B. As C long rows, a
convolution over units or over examples is then a sum of matrix products of shifted slices, for all tasks at once and
without a copy: the zeros stand between an edge and the next example, unit or task.

Shapes: T tasks, N units, B examples, C channels.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from update_rules.metz_layers import NORM_EPS


def clear_padding(x: Tensor) -> Tensor:
    """``x`` [C, T, N+1, B+1] with its padding set to 0, in place."""
    x.select(2, -1).zero_()
    x.select(3, -1).zero_()
    return x


def _shifted(taps: int, stride: int) -> list[tuple[int, slice, slice]]:
    """Of each tap but the middle one: its index, the columns that it reads and the columns that it adds to."""
    middle = taps // 2
    columns = []
    for tap in range(taps):
        shift = (tap - middle) * stride
        if shift:
            source = slice(shift, None) if shift > 0 else slice(None, shift)
            target = slice(None, -shift) if shift > 0 else slice(-shift, None)
            columns.append((tap, source, target))
    return columns


class ConvolutionNorm(torch.autograd.Function):
    """Convolution of width 1 or 3, batch norm per task, relu: padded [C_in, T, N+1, B+1] to [C_out, T, N+1, B+1].

    ``ConvolutionNorm.apply(x, weight, offset, over_units, residual)`` with weight [width, C_in, C_out], offset [C_out]
    and a padded array that is added to the result, or None. A convolution's bias has no effect before a batch norm and
    is left out. Gradients at the padding mean nothing. Differentiable once.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, offset: Tensor, over_units: bool, residual: Tensor | None
    ) -> Tensor:
        """The result."""
        _, tasks, units, examples = x.shape
        shape = (-1, tasks, units, examples)
        count = (units - 1) * (examples - 1)
        flat = x.view(x.shape[0], -1)
        taps = weight.mT.unbind(0)
        shifts = _shifted(len(taps), examples if over_units else 1)
        y = taps[len(taps) // 2] @ flat
        for tap, source, target in shifts:
            y[:, target].addmm_(taps[tap], flat[:, source])
        y = clear_padding(y.view(shape)).view(-1, tasks, units * examples)
        # The variance as a difference of means is safe here, where NORM_EPS is far above its rounding.
        mean = y.sum(2, keepdim=True).div_(count)
        variance = (y * y).sum(2, keepdim=True).div_(count).addcmul_(mean, mean, value=-1)
        inverse = variance.clamp_min_(0).add_(NORM_EPS).rsqrt_()
        normed = torch.addcmul(offset[:, None, None] - mean * inverse, y, inverse, out=y)
        clear_padding(normed.view(shape))
        ctx.save_for_backward(x, weight, offset, normed, inverse)
        ctx.shifts, ctx.has_residual = shifts, residual is not None
        out = torch.relu(normed).view(shape)
        return out if residual is None else out.add_(residual)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments, in their order."""
        x, weight, offset, normed, inverse = ctx.saved_tensors
        _, tasks, units, examples = x.shape
        count = (units - 1) * (examples - 1)
        # The relu's mask also drops what came back to the padding, where ``normed`` is 0.
        g = torch.ops.aten.threshold_backward(grad.reshape(normed.shape), normed, 0)
        total = g.sum(2, keepdim=True)
        along = (g * normed).sum(2, keepdim=True)
        offset = offset[:, None, None]
        # With normed = offset + x̂: dy = inverse · (g − mean(g) − x̂ · mean(g · x̂)).
        slope = along.addcmul_(offset, total, value=-1).mul_(inverse).div_(-count)
        level = torch.addcmul(total * inverse, offset, slope, value=count).div_(-count)
        g.mul_(inverse).addcmul_(normed, slope).add_(level)
        g = clear_padding(g.view(-1, tasks, units, examples)).view(g.shape[0], -1)
        flat = x.view(x.shape[0], -1)
        middle = weight.shape[0] // 2
        grad_weight = torch.empty_like(weight)
        torch.mm(flat, g.T, out=grad_weight[middle])
        grad_flat = weight[middle] @ g if ctx.needs_input_grad[0] else None
        for tap, source, target in ctx.shifts:
            torch.mm(flat[:, source], g[:, target].T, out=grad_weight[tap])
            if grad_flat is not None:
                grad_flat[:, source].addmm_(weight[tap], g[:, target])
        return (
            None if grad_flat is None else grad_flat.view(x.shape),
            grad_weight,
            total.sum((1, 2)),
            None,
            grad if ctx.has_residual else None,
        )


class NormedInputs(torch.autograd.Function):
    """What neurons see, padded [U+F, T, N+1, B+1]: per-unit inputs, then per-example inputs after a batch norm.

    ``NormedInputs.apply(per_unit, per_example, offset)`` with [U, T, N], [F, T, N, B] and [F]. Differentiable once.
    """

    @staticmethod
    def forward(ctx: Any, per_unit: Tensor, per_example: Tensor, offset: Tensor) -> Tensor:
        """The inputs."""
        features, tasks, units, examples = per_example.shape
        constants = per_unit.shape[0]
        seen = per_example.new_empty(constants + features, tasks, units + 1, examples + 1)
        seen[:constants, :, :-1, :-1] = per_unit[..., None]
        flat = per_example.flatten(2)
        centred = flat - flat.mean(2, keepdim=True)
        inverse = (centred * centred).mean(2, keepdim=True).add_(NORM_EPS).rsqrt_()
        normed = centred.mul_(inverse)
        torch.add(normed.view(per_example.shape), offset[:, None, None, None], out=seen[constants:, :, :-1, :-1])
        ctx.save_for_backward(normed, inverse)
        return clear_padding(seen)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the arguments, in their order."""
        normed, inverse = ctx.saved_tensors
        constants = grad.shape[0] - normed.shape[0]
        inside = grad[:, :, :-1, :-1]
        g = inside[constants:].flatten(2)
        along = (g * normed).mean(2, keepdim=True)
        grad_seen = (g - g.mean(2, keepdim=True)).addcmul_(normed, along, value=-1).mul_(inverse)
        return inside[:constants].sum(3), grad_seen.view(-1, *inside.shape[1:]), g.sum((1, 2))


class Readouts(torch.autograd.Function):
    """Linear readouts of padded neuron states [H, T, N+1, B+1] as matrices over examples: [T, names, R·B, N].

    ``Readouts.apply(h, weight, bias, channels)`` with weight [H, names·R], bias [names·R] and R channels.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, channels: int) -> Tensor:
        """The readouts; what is laid out as [T, names, N, R·B] is handed on transposed."""
        hidden, tasks, units, examples = h.shape
        read = torch.addmm(bias[:, None], weight.T, h.view(hidden, -1))
        ctx.save_for_backward(h, weight)
        ctx.channels = channels
        inside = read.view(-1, channels, tasks, units, examples)[:, :, :, :-1, :-1]
        return inside.permute(2, 0, 3, 1, 4).reshape(tasks, inside.shape[0], units - 1, -1).mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments, in their order."""
        h, weight = ctx.saved_tensors
        hidden, tasks, units, examples = h.shape
        names = grad.shape[1]
        padded = grad.new_zeros(names, ctx.channels, tasks, units, examples)
        inside = grad.mT.reshape(tasks, names, units - 1, ctx.channels, examples - 1)
        padded[:, :, :, :-1, :-1] = inside.permute(1, 3, 0, 2, 4)
        flat = padded.view(names * ctx.channels, -1)
        return (weight @ flat).view(h.shape), h.view(hidden, -1) @ flat.T, flat.sum(1), None
