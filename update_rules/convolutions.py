"""Zero-padded 1-D convolutions over examples or over units for T tasks at once, and their gradients.

Arrays are [T, C, B, N]: T tasks, C channels, B examples, N units. Few channels (``THIN``) go through one matrix product
for all taps, whose results are then shifted and added: there the overhead of a convolution is several times its
arithmetic. Otherwise PyTorch's convolution is faster, which makes no array of all taps.
"""

import torch
from torch import Tensor

EXAMPLES, UNITS = 2, 3
"""The axes to slide along."""

THIN = 16
"""Channels from which on PyTorch's convolution is taken."""


def convolve(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    """``x`` [T, C_in, B, N] convolved along ``axis`` with ``weight`` [width, C_in, C_out]: [T, C_out, B, N].

    The width is odd, the result contiguous.
    """
    if min(weight.shape[1:]) >= THIN:
        kernel, padding = _kernel(weight, axis)
        return torch.convolution(x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), 1)
    taps, length = weight.shape[0], x.shape[axis]
    middle = taps // 2
    products = torch.bmm(weight.mT.flatten(0, 1).expand(len(x), -1, -1), x.flatten(2))
    each = products.view(len(x), taps, -1, *x.shape[2:]).unbind(1)
    out = each[middle].contiguous()
    for tap, product in enumerate(each):
        shift = tap - middle
        kept = length - abs(shift)
        if shift and kept > 0:
            target = out.narrow(axis, max(-shift, 0), kept)
            target.add_(product.narrow(axis, max(shift, 0), kept))
    return out


def convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, axis: int, needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """The gradients of ``x`` (where ``needs_x``) and of ``weight`` from the one of ``convolve``'s result."""
    taps, inputs, outputs = weight.shape
    if min(inputs, outputs) >= THIN:
        kernel, padding = _kernel(weight, axis)
        wanted = [needs_x, True, False]
        grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad, x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), 1, wanted
        )
        return grad_x, grad_kernel.flatten(2).permute(2, 1, 0)
    tasks, middle, length = len(x), taps // 2, x.shape[axis]
    moved = grad.new_empty(tasks, taps, *grad.shape[1:])
    for tap, part in enumerate(moved.unbind(1)):
        # What tap reads at a place has come from one that many places away: the gradient goes back there.
        shift = tap - middle
        kept = max(length - abs(shift), 0)
        if shift:
            part.narrow(axis, 0 if shift > 0 else kept, length - kept).zero_()
        part.narrow(axis, max(shift, 0), kept).copy_(grad.narrow(axis, max(-shift, 0), kept))
    columns = moved.view(tasks, taps * outputs, -1)
    grad_weight = torch.bmm(x.flatten(2), columns.mT).sum(0).view(inputs, taps, outputs).transpose(0, 1)
    if not needs_x:
        return None, grad_weight
    back = weight.transpose(0, 1).reshape(inputs, -1).expand(tasks, -1, -1)
    return torch.bmm(back, columns).view(x.shape), grad_weight


def _kernel(weight: Tensor, axis: int) -> tuple[Tensor, tuple[int, int]]:
    """``weight`` as a kernel of a 2-D convolution, [C_out, C_in, width, 1] or [C_out, C_in, 1, width]; its padding."""
    margin = weight.shape[0] // 2
    padding = (margin, 0) if axis == EXAMPLES else (0, margin)
    return weight.permute(2, 1, 0).unsqueeze(3 if axis == EXAMPLES else 2), padding
