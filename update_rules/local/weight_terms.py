"""The terms of a weight change for T tasks at once, with their backward pass written by hand.

The maths is that of ``weight_change`` and ``WeightChange``. The terms lie in one array, and products copy nothing.
Shapes: T tasks, P units below, N units above, B examples, M = readout channels · B.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MIXED = (
    "order_0",
    "order_1",
    "hebb",
    "large_decay",
    "linear_lower",
    "linear_upper_psd",
    "linear_upper",
    "rbf",
    "square_lower",
    "square_upper",
)
"""The terms in their order; ``hebb`` is vᵀu / B and ``large_decay`` −w² sign(w)."""

UPPER = ("order_0", "rbf", "order_1", "linear_upper_a", "linear_upper_b", "psd", "square_upper_a", "square_upper_b")
LOWER = ("order_0", "rbf", "order_1", "linear_lower_a", "linear_lower_b", "square_lower_a", "square_lower_b")
"""Readouts that a neuron gives to the weights below it (as their upper side) and above it (as their lower side)."""


def _outer(a: Tensor, c: Tensor, scale: float) -> Tensor:
    """``scale`` · aᵀc [T, P, N] of a [T, M, P] and c [T, M, N]."""
    return _into(a.new_empty(len(a), a.shape[2], c.shape[2]), a.mT, c, scale)


def _into(out: Tensor, a: Tensor, c: Tensor, scale: float) -> Tensor:
    """Write ``scale`` · ac into ``out``, all [T, ., .]; a factor in the product costs no operation of its own."""
    return out.baddbmm_(a, c, beta=0, alpha=scale)


def _symmetric(squares: Tensor) -> Tensor:
    """(u + uᵀ)/√2 with a zero diagonal, over sqrt(N), of every u in ``squares`` [T, N, N]. It is its own transpose."""
    both = (squares + squares.mT).mul_(1 / math.sqrt(2 * squares.shape[-1]))
    both.diagonal(dim1=1, dim2=2).zero_()
    return both


def _swapped(pair: Tensor) -> Tensor:
    """``pair`` [T, 2·M, N] with its two halves exchanged."""
    return pair.unflatten(1, (2, -1)).flip(1).flatten(1, 2)


class _ThinProduct:
    """``_symmetric(scale · aᵀc) @ w`` of ``pair`` [T, 2·M, P], a above c, as aᵀ(c w) + cᵀ(a w) less the diagonal."""

    @staticmethod
    def pays(w: Tensor, rows: int) -> bool:
        """Whether it takes fewer multiply-adds than the way by the array, where ``rows`` is M."""
        below, above = w.shape[1:]
        return 4 * rows * above < below * (rows + above)

    def __init__(self, pair: Tensor, w: Tensor, scale: float) -> None:
        self.pair, self.w, self.scale = pair, w, scale / math.sqrt(2 * w.shape[1])
        self.twice = pair.unflatten(1, (2, -1)).prod(1).sum(1).mul_(2)[:, :, None]
        self.seen = _swapped(torch.bmm(pair, w))

    def into(self, out: Tensor) -> Tensor:
        """Write the product into ``out`` [T, P, N]."""
        return torch.bmm(self.pair.mT, self.seen, out=out).addcmul_(self.twice, self.w, value=-1).mul_(self.scale)

    def backward(self, grad: Tensor, grad_pair: Tensor) -> Tensor:
        """Write the gradients of a and c into ``grad_pair`` [2, T, M, P], for ``grad`` [T, P, N]. Returns that of w."""
        grad = grad * self.scale
        back = _swapped(torch.bmm(self.pair, grad))
        along = (grad * self.w).sum(2).mul_(-2)[:, None]
        both = torch.mul(_swapped(self.pair), along).baddbmm_(self.seen, grad.mT).baddbmm_(back, self.w.mT)
        grad_pair.copy_(both.unflatten(1, (2, -1)).transpose(0, 1))
        return torch.bmm(self.pair.mT, back).addcmul_(self.twice, grad, value=-1)


class MixedTerms(torch.autograd.Function):
    """Σ mixing · term / sqrt(1 + mean square of its column), [T, P, N], over the terms of ``MIXED``.

    ``MixedTerms.apply(w, lower, upper, v, u, mixing)`` with w [T, P, N], the readouts lower [T, 7, M, P] and upper
    [T, 8, M, N], the standardised activations v [T, B, P] and u [T, B, N] and mixing [T, 10]. Differentiable once.
    """

    @staticmethod
    def forward(ctx: Any, w: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor, mixing: Tensor) -> Tensor:
        """The mixed terms."""
        scale = 1 / lower.shape[2]
        a, c = lower.unbind(1), upper.unbind(1)
        square, sign = w * w, torch.sign(w)
        decay, magnitude = torch.exp(-square), torch.sqrt(1 + square).sub_(1)
        rbf, order_1 = _outer(a[1], c[1], scale), _outer(a[2], c[2], scale)
        linear_upper, square_upper = _symmetric(_outer(c[3], c[4], scale)), _symmetric(_outer(c[6], c[7], scale))
        psd = _outer(c[5], c[5], scale / math.sqrt(w.shape[2]))
        terms = w.new_empty(len(MIXED), *w.shape)
        _into(terms[0], a[0].mT, c[0], scale)
        torch.mul(w, order_1, out=terms[1])
        _into(terms[2], v.mT, u, 1 / u.shape[1])
        torch.mul(square, sign, out=terms[3]).neg_()
        thin: list[_ThinProduct] = []
        lower_squares: list[Tensor] = []
        for (index, first), factor in zip(((4, 3), (8, 5)), (w, magnitude), strict=True):
            if _ThinProduct.pays(w, lower.shape[2]):
                thin.append(_ThinProduct(lower[:, first : first + 2].flatten(1, 2), factor, scale))
                thin[-1].into(terms[index])
            else:
                lower_squares.append(_symmetric(_outer(a[first], a[first + 1], scale)))
                torch.bmm(lower_squares[-1], factor, out=terms[index])
        terms[8].mul_(sign)
        torch.bmm(w, psd, out=terms[5])
        torch.bmm(w, linear_upper, out=terms[6])
        torch.mul(decay, rbf, out=terms[7])
        torch.bmm(magnitude, square_upper, out=terms[9]).mul_(sign)
        bound = torch.rsqrt((terms * terms).mean(2, keepdim=True).add_(1))
        share = bound * mixing.T[:, :, None, None]
        mixed = terms[0] * share[0]
        for term, weight in zip(terms[1:], share[1:], strict=True):
            mixed.addcmul_(term, weight)
        squares = (psd, linear_upper, square_upper, *lower_squares)
        ctx.thin = thin
        ctx.save_for_backward(w, lower, upper, v, u, mixing, terms, bound, decay, magnitude, order_1, *squares)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the arguments, in their order."""
        w, lower, upper, v, u, mixing, terms, bound, decay, magnitude, order_1, *squares = ctx.saved_tensors
        psd, linear_upper, square_upper, *lower_squares = squares
        scale = 1 / lower.shape[2]
        a, c = lower.unbind(1), upper.unbind(1)
        sign = torch.sign(w)
        # Of y = t · bound follows dt = bound · (dy − t · bound² · mean(t · dy)), with dy = mixing · grad.
        along = (terms * grad).mean(2, keepdim=True)
        grad_mixing = (along * bound).sum((2, 3)).T * w.shape[1]
        g = torch.addcmul(grad, terms, bound * bound * along, value=-1)
        g.mul_(bound * mixing.T[:, :, None, None])

        grad_w = torch.mul(w, sign).mul_(g[3]).mul_(-2)
        grad_w.addcmul_(g[7] * terms[7], w, value=-2).addcmul_(g[1], order_1)
        # The squares are their own transposes.
        grad_w.baddbmm_(g[6], linear_upper).baddbmm_(g[5], psd)
        g[8:].mul_(sign)
        grad_magnitude = torch.bmm(g[9], square_upper)
        # Readouts first in memory: products are written in one call only where all their tasks lie together.
        grad_lower, grad_upper = (side.new_empty(side.transpose(0, 1).shape) for side in (lower, upper))
        if ctx.thin:
            grad_w.add_(ctx.thin[0].backward(g[4], grad_lower[3:5]))
            grad_magnitude.add_(ctx.thin[1].backward(g[8], grad_lower[5:7]))
        else:
            grad_w.baddbmm_(lower_squares[0], g[4])
            grad_magnitude.baddbmm_(lower_squares[1], g[8])
        grad_w.addcmul_(grad_magnitude, w / (magnitude + 1))

        da, dc = grad_lower.unbind(0), grad_upper.unbind(0)
        for index, product in enumerate((g[0], g[7].mul_(decay), g[1].mul_(w))):
            _into(da[index], c[index], product.mT, scale)
            _into(dc[index], a[index], product, scale)
        changes = [(3, 4, c, dc, torch.bmm(w.mT, g[6])), (6, 7, c, dc, torch.bmm(magnitude.mT, g[9]))]
        if not ctx.thin:
            changes += [(3, 4, a, da, torch.bmm(g[4], w.mT)), (5, 6, a, da, torch.bmm(g[8], magnitude.mT))]
        for first, second, side, out, change in changes:
            square = _symmetric(change)
            _into(out[first], side[second], square, scale)
            _into(out[second], side[first], square, scale)
        grad_psd = torch.bmm(w.mT, g[5])
        _into(dc[5], c[5], grad_psd.add(grad_psd.mT), scale / math.sqrt(w.shape[2]))
        hebb = 1 / u.shape[1]
        grad_v, grad_u = torch.empty_like(v), torch.empty_like(u)
        _into(grad_v, u, g[2].mT, hebb)
        _into(grad_u, v, g[2], hebb)
        return grad_w, grad_lower.transpose(0, 1), grad_upper.transpose(0, 1), grad_v, grad_u, grad_mixing
