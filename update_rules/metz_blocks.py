"""The convolutions of the Metz rule for T tasks at once, with their backward passes written by hand.

Arrays are *padded*, channels first: [C, T, N+1, B+1], with zeros at unit N and at example B. As C long rows, a
convolution over units or over examples is then a sum of matrix products of shifted slices, for all tasks at once and
without a copy: the zeros stand between an edge and the next example, unit or task.

Shapes: T tasks, N units, B examples, C channels.
"""

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from update_rules.metz_layers import NORM_EPS
from update_rules.shifted_products import blocks, convolve, empty_rows, shifts_of, tap_gradients


def clear_padding(x: Tensor) -> Tensor:
    """``x`` [C, T, N+1, B+1] with its padding set to 0, in place."""
    x.select(2, -1).zero_()
    x.select(3, -1).zero_()
    return x


def convolution_norm(x: Tensor, weight: Tensor, offset: Tensor, over_units: bool, residual: Tensor | None) -> Tensor:
    """Convolution of width 1 or 3, batch norm per task, relu: padded [C_in, T, N+1, B+1] to [C_out, T, N+1, B+1].

    Takes a weight [width, C_in, C_out], an offset [C_out] and a padded array that is added to the result, or None. A
    convolution's bias has no effect before a batch norm and is left out. Differentiable once.
    """
    if torch.is_grad_enabled():
        return cast(Tensor, _ConvolutionNorm.apply(x, weight, offset, over_units, residual))
    out = _normed_convolution(x, weight, offset, over_units)[0].relu_()
    return out if residual is None else out.add_(residual)


def _shifts(weight: Tensor, x: Tensor, over_units: bool) -> list[int]:
    return shifts_of(weight.shape[0], x.shape[3] if over_units else 1)


def _dots(a: Tensor, b: Tensor) -> Tensor:
    """Σ a·b over the columns of two arrays [T, P, C], [T, 1, C]."""
    found = [
        (a[:, start:stop] * b[:, start:stop]).sum(1, keepdim=True) for start, stop in blocks(a.shape[2], a.shape[1])
    ]
    return found[0] if len(found) == 1 else torch.stack(found).sum(0)


def _normed_convolution(x: Tensor, weight: Tensor, offset: Tensor, over_units: bool) -> tuple[Tensor, Tensor]:
    """The result before the relu, padded [C_out, T, N+1, B+1], and 1 / standard deviation [T, 1, C_out]."""
    channels, tasks, units, examples = x.shape
    count = (units - 1) * (examples - 1)
    y = convolve(x.view(channels, -1), weight.mT.unbind(0), _shifts(weight, x, over_units))
    y = clear_padding(y.view(-1, tasks, units, examples))
    columns = y.flatten(2).permute(1, 2, 0)
    # The variance as a difference of means is safe here, where NORM_EPS is far above its rounding.
    total, squares = columns.sum(1, keepdim=True), _dots(columns, columns)
    spread = squares.mul_(count).addcmul_(total, total, value=-1).clamp_min_(0)  # variance · count²
    root = spread.add_(NORM_EPS * count * count).rsqrt_()
    inverse = root * count
    columns.mul_(inverse).add_(torch.addcmul(offset, total, root, value=-1))
    return clear_padding(y), inverse


class _ConvolutionNorm(torch.autograd.Function):
    """``convolution_norm`` with its backward pass. Gradients at the padding mean nothing."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, offset: Tensor, over_units: bool, residual: Tensor | None
    ) -> Tensor:
        """The result."""
        normed, inverse = _normed_convolution(x, weight, offset, over_units)
        ctx.save_for_backward(x, weight, offset, normed, inverse)
        ctx.over_units, ctx.has_residual = over_units, residual is not None
        out = torch.relu(normed)
        return out if residual is None else out.add_(residual)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of the arguments, in their order."""
        x, weight, offset, normed, inverse = ctx.saved_tensors
        _, _, units, examples = x.shape
        count = (units - 1) * (examples - 1)
        # The relu's mask also drops what came back to the padding, where ``normed`` is 0.
        g = torch.ops.aten.threshold_backward(grad, normed, 0)
        columns, normed = (array.flatten(2).permute(1, 2, 0) for array in (g, normed))
        total = columns.sum(1, keepdim=True)
        along = _dots(columns, normed)
        # With normed = offset + x̂: dy = inverse · (g − mean(g) − x̂ · mean(g · x̂)).
        slope = along.addcmul_(offset, total, value=-1).mul_(inverse).div_(-count)
        level = torch.addcmul(total * inverse, offset, slope, value=count).div_(-count)
        columns.mul_(inverse).addcmul_(normed, slope).add_(level)
        flat = clear_padding(g).flatten(1)
        shifts = _shifts(weight, x, ctx.over_units)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = convolve(flat, weight.unbind(0), [-shift for shift in shifts]).view(x.shape)
        grad_weight = tap_gradients(x.flatten(1), flat, shifts)
        return grad_x, grad_weight, total.sum((0, 1)), None, grad if ctx.has_residual else None


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
        grad_h = torch.mm(weight, flat, out=empty_rows(h, hidden, flat.shape[1]))
        return grad_h.view(h.shape), h.view(hidden, -1) @ flat.T, flat.sum(1), None
