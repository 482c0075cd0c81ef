"""The terms of a weight change for T tasks at once, with their backward pass written by hand.

The maths is that of ``NeuronLocal._terms`` and ``WeightChange.terms``, and of the mixing of bounded terms. The terms
lie in one array, and what goes into or comes out of a product is not copied. Shapes: T tasks, P units below, N units
above, B examples, M = readout channels · B.
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
    return torch.bmm(a.mT, c).mul_(scale)


def _symmetric(squares: Tensor) -> Tensor:
    """(u + uᵀ)/√2 with a zero diagonal, over sqrt(N), of every u in ``squares`` [T, N, N]. It is its own transpose."""
    both = (squares + squares.mT).mul_(1 / math.sqrt(2 * squares.shape[-1]))
    both.diagonal(dim1=1, dim2=2).zero_()
    return both


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
        linear_lower, square_lower = _symmetric(_outer(a[3], a[4], scale)), _symmetric(_outer(a[5], a[6], scale))
        psd = _outer(c[5], c[5], scale / math.sqrt(w.shape[2]))
        terms = w.new_empty(len(MIXED), *w.shape)
        torch.bmm(a[0].mT, c[0], out=terms[0]).mul_(scale)
        torch.mul(w, order_1, out=terms[1])
        torch.bmm(v.mT, u, out=terms[2]).mul_(1 / u.shape[1])
        torch.mul(square, sign, out=terms[3]).neg_()
        torch.bmm(linear_lower, w, out=terms[4])
        torch.bmm(w, psd, out=terms[5])
        torch.bmm(w, linear_upper, out=terms[6])
        torch.mul(decay, rbf, out=terms[7])
        torch.bmm(square_lower, magnitude, out=terms[8]).mul_(sign)
        torch.bmm(magnitude, square_upper, out=terms[9]).mul_(sign)
        bound = torch.rsqrt((terms * terms).mean(2, keepdim=True).add_(1))
        share = bound * mixing.T[:, :, None, None]
        mixed = terms[0] * share[0]
        for term, weight in zip(terms[1:], share[1:], strict=True):
            mixed.addcmul_(term, weight)
        squares = (psd, linear_upper, square_upper, linear_lower, square_lower)
        ctx.save_for_backward(w, lower, upper, v, u, mixing, terms, bound, decay, magnitude, order_1, *squares)
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        """The gradients of the arguments, in their order."""
        w, lower, upper, v, u, mixing, terms, bound, decay, magnitude, order_1, *squares = ctx.saved_tensors
        psd, linear_upper, square_upper, linear_lower, square_lower = squares
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
        grad_w.baddbmm_(g[6], linear_upper).baddbmm_(g[5], psd).baddbmm_(linear_lower, g[4])
        g[8:].mul_(sign)
        grad_magnitude = torch.bmm(g[9], square_upper).baddbmm_(square_lower, g[8])
        grad_w.addcmul_(grad_magnitude, w / (magnitude + 1))

        grad_lower, grad_upper = torch.empty_like(lower), torch.empty_like(upper)
        da, dc = grad_lower.unbind(1), grad_upper.unbind(1)
        for index, product in enumerate((g[0], g[7].mul_(decay), g[1].mul_(w))):
            product.mul_(scale)
            torch.bmm(c[index], product.mT, out=da[index])
            torch.bmm(a[index], product, out=dc[index])
        for first, second, side, out, change in (
            (3, 4, c, dc, torch.bmm(w.mT, g[6])),
            (6, 7, c, dc, torch.bmm(magnitude.mT, g[9])),
            (3, 4, a, da, torch.bmm(g[4], w.mT)),
            (5, 6, a, da, torch.bmm(g[8], magnitude.mT)),
        ):
            square = _symmetric(change).mul_(scale)
            torch.bmm(side[second], square, out=out[first])
            torch.bmm(side[first], square, out=out[second])
        grad_psd = torch.bmm(w.mT, g[5])
        torch.bmm(c[5], (grad_psd + grad_psd.mT).mul_(scale / math.sqrt(w.shape[2])), out=dc[5])
        hebb = g[2].mul_(1 / u.shape[1])
        return grad_w, grad_lower, grad_upper, torch.bmm(u, hebb.mT), torch.bmm(v, hebb), grad_mixing
