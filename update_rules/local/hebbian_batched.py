"""``hebbian`` for T tasks at once, each maybe with a θ of its own: the same maths in few large operations.

A term ⟨v x⟩ enters over a norm of its columns. That norm is a form in ⟨v v⟩ over examples, so no such term is made:
their sum is one product. Shapes: T tasks, B examples, P units below, N units above.
"""

import math

import torch
from torch import Tensor

from update_rules.local.local_terms import unit_rms_columns

OUTER = 6
"""How many terms are ⟨v x⟩: they come first."""


def batched_weight_change(
    w: Tensor,
    v: Tensor,
    u: Tensor,
    x: Tensor,
    error: Tensor,
    sharpness: Tensor,
    weights: Tensor,
    *,
    bounded: bool,
) -> Tensor:
    """The sum of all terms [T, P, N] with their ``weights`` [12], each ``bounded`` in its columns or as it is.

    ``w`` [T, P, N]; of the layer below centred activations ``v`` [T, B, P]; of that above standardised pre-activations
    ``u``, activations ``x`` and ``error``, [T, B, N]. ``weights`` and the scalar ``sharpness`` may have a leading T.
    """
    tasks, b, n = u.shape
    below = w.shape[1]
    y = unit_rms_columns(x)
    seen = torch.stack([u, y, u * u * u, y * (y - 1), torch.softmax(sharpness[..., None, None] * u, 2) * n, error], 2)

    def share(first: int, square: Tensor) -> Tensor:
        """[T, K, N]: what K terms from the ``first`` count, of mean squares [T, K, N] of their columns."""
        own = weights[..., first : first + square.shape[1], None]
        return own * torch.rsqrt(1 + square) if bounded else own.expand_as(square)

    flat = seen.flatten(2)
    square = (torch.bmm(torch.bmm(v, v.mT), flat) * flat).sum(1).view(tasks, OUTER, n) / (below * b * b)
    mixed = (seen * share(0, square)[:, None]).sum(2)
    change = torch.bmm(v.mT, mixed) / b

    for place, other in enumerate(_by_others(w, u, y)):
        change = torch.addcmul(change, other, share(6 + place, _mean_square(other)), value=-1)

    square = w * w
    for place, (term, sign) in enumerate(
        ((w * w.abs(), -1.0), (w * torch.exp(-square), 1.0), (w * square.mean(2, keepdim=True), -1.0))
    ):
        change = torch.addcmul(change, term, share(8 + place, _mean_square(term)), value=sign)
    mean = w.mean(1, keepdim=True)
    return change - mean * share(11, mean * mean)


def _mean_square(term: Tensor) -> Tensor:
    return (term * term).mean(1, keepdim=True)


def _by_others(w: Tensor, *answers: Tensor) -> list[Tensor]:
    """Of each [T, B, N] of ``answers`` w · offdiag⟨u u⟩ / √N, as ``hebbian.by_others``."""
    _, b, n = answers[0].shape
    scale = b * math.sqrt(n)
    if n > 2 * b:
        return [(torch.bmm(torch.bmm(w, u.mT), u) - w * (u * u).sum(1, keepdim=True)) / scale for u in answers]
    off_diagonal = (1 - torch.eye(n, dtype=w.dtype, device=w.device)) / scale
    return [torch.bmm(w, torch.bmm(u.mT, u) * off_diagonal) for u in answers]
