"""Zero-padded 1-D convolutions over examples or over units for T tasks at once, and their gradients.

Arrays are [T, C, B, N]: T tasks, C channels, B examples, N units. Fewer channels than ``THIN`` go through one matrix
product over all taps: there the overhead of PyTorch's convolution is several times its arithmetic.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

EXAMPLES, UNITS = 2, 3
"""The axes to slide along."""

THIN = 16
"""Channels from which on PyTorch's convolution is taken."""


def convolve(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    """``x`` [T, C_in, B, N] convolved along ``axis`` with ``weight`` [odd width, C_in, C_out]: [T, C_out, B, N]."""
    if min(weight.shape[1:]) >= THIN:
        kernel, padding = _kernel(weight, axis)
        return torch.convolution(x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), 1)
    if weight.shape[1] > weight.shape[2]:
        return _added_products(x, weight, axis)
    taps = _taps(x, weight.shape[0], axis)
    return torch.bmm(weight.flatten(0, 1).T.expand(len(x), -1, -1), taps).view(len(x), -1, *x.shape[2:])


def convolve_backward(
    grad: Tensor, x: Tensor, weight: Tensor, axis: int, needs_x: bool
) -> tuple[Tensor | None, Tensor]:
    """The gradients of ``x`` (where ``needs_x``) and of ``weight`` from the one of ``convolve``'s result."""
    width, inputs, outputs = weight.shape
    if min(inputs, outputs) >= THIN:
        kernel, padding = _kernel(weight, axis)
        wanted = [needs_x, True, False]
        grad_x, grad_kernel, _ = torch.ops.aten.convolution_backward(
            grad, x, kernel, None, (1, 1), padding, (1, 1), False, (0, 0), 1, wanted
        )
        return grad_x, grad_kernel.flatten(2).permute(2, 1, 0)
    # What a tap reads at a place has come from one that many places away: the gradient goes back by the opposite tap.
    taps = _taps(grad, width, axis)
    grad_weight = torch.bmm(x.flatten(2), taps.mT).sum(0).view(inputs, width, outputs).transpose(0, 1).flip(0)
    if not needs_x:
        return None, grad_weight
    back = weight.flip(0).transpose(0, 1).reshape(inputs, -1).expand(len(x), -1, -1)
    return torch.bmm(back, taps).view(x.shape), grad_weight


def _taps(x: Tensor, width: int, axis: int) -> Tensor:
    """What each of ``width`` taps along ``axis`` sees of ``x`` [T, C, B, N], 0 beyond its ends: [T, width·C, B·N]."""
    margin = width // 2
    margins = (0, 0, margin, margin) if axis == EXAMPLES else (margin, margin)
    seen = F.pad(x, margins).unfold(axis, x.shape[axis], 1)  # the taps take the axis's place, its values come last
    seen = seen.permute(0, 2, 1, 4, 3) if axis == EXAMPLES else seen.permute(0, 3, 1, 2, 4)
    return seen.reshape(len(x), width * x.shape[1], -1)


def _added_products(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    """``convolve`` by the products of every tap, shifted and added: less to write where inputs outnumber outputs."""
    width, length = weight.shape[0], x.shape[axis]
    products = torch.bmm(weight.mT.flatten(0, 1).expand(len(x), -1, -1), x.flatten(2))
    each = products.view(len(x), width, -1, *x.shape[2:]).unbind(1)
    out = each[width // 2].contiguous()
    for tap, product in enumerate(each):
        shift = tap - width // 2
        kept = length - abs(shift)
        if shift and kept > 0:
            out.narrow(axis, max(-shift, 0), kept).add_(product.narrow(axis, max(shift, 0), kept))
    return out


def _kernel(weight: Tensor, axis: int) -> tuple[Tensor, tuple[int, int]]:
    """``weight`` as a kernel of a 2-D convolution, [C_out, C_in, width, 1] or [C_out, C_in, 1, width]; its padding."""
    margin = weight.shape[0] // 2
    padding = (margin, 0) if axis == EXAMPLES else (0, margin)
    return weight.permute(2, 1, 0).unsqueeze(3 if axis == EXAMPLES else 2), padding
