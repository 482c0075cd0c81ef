"""Division by a root mean square as one node of the graph: half the operations that autograd would take for it."""

from math import prod
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def rms_normalised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """``x`` / √(``eps`` + mean of its squares over ``axes``), of the shape of ``x``; differentiable once."""
    return cast(Tensor, _RmsNormalised.apply(x, axes, eps))


class _RmsNormalised(torch.autograd.Function):
    """``rms_normalised`` with its backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
        """The result."""
        ctx.axes, ctx.count = axes, prod(x.shape[axis] for axis in axes)
        inverse = (x * x).sum(axes, keepdim=True).div_(ctx.count).add_(eps).rsqrt_()
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of ``x``: (grad − y · mean(grad · y)) / root mean square."""
        y, inverse = ctx.saved_tensors
        along = (grad * y).sum(ctx.axes, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1 / ctx.count).mul_(inverse), None, None
