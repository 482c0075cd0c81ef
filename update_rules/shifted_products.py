"""Convolutions along long rows as sums of matrix products of shifted slices, and their gradients.

Arrays are C channels of P columns, [C, P]. A tap of shift s reads column p + s for column p; what would lie outside
counts as 0. No slice is copied.

Where channels are many (``WIDE``), the arrays made here are channels last in memory, and columns are taken block by
block, so that a block stays in the cache for all taps: at 64 channels twice as fast. Thin products are several times
faster with channels first. Shapes and values are the same, and either layout may be passed in.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

WIDE = 64
BLOCK = 2048


def blocks(channels: int, columns: int) -> Iterator[tuple[int, int]]:
    """The first column of each block and the one after its last."""
    width = BLOCK if channels >= WIDE else columns
    return ((start, min(start + width, columns)) for start in range(0, columns, width))


def empty_rows(like: Tensor, channels: int, columns: int) -> Tensor:
    """An uninitialised array [C, P] of the type of ``like``, in the layout of its width."""
    return like.new_empty(columns, channels).T if channels >= WIDE else like.new_empty(channels, columns)


def shifts_of(taps: int, stride: int) -> list[int]:
    """The shift of each of an odd number of ``taps``, from the most negative; the middle one's is 0."""
    return [(tap - taps // 2) * stride for tap in range(taps)]


def convolve(x: Tensor, matrices: Sequence[Tensor], shifts: Sequence[int]) -> Tensor:
    """Σ matrix @ (``x`` [C_in, P] shifted) over the taps, [C_out, P], with ``matrices`` [C_out, C_in].

    One shift must be 0.
    """
    columns = x.shape[1]
    out = empty_rows(x, matrices[0].shape[0], columns)
    middle = shifts.index(0)
    outer = [tap for tap in zip(matrices, shifts, strict=True) if tap[1]]
    for start, stop in blocks(*out.shape):
        torch.mm(matrices[middle], x[:, start:stop], out=out[:, start:stop])
        for matrix, shift in outer:
            first, last = max(start, -shift), min(stop, columns - shift)
            if first < last:
                out[:, first:last].addmm_(matrix, x[:, first + shift : last + shift])
    return out


def tap_gradients(x: Tensor, grad: Tensor, shifts: Sequence[int]) -> Tensor:
    """The gradients [taps, C_in, C_out] of the transposed matrices of ``convolve``, from ``grad`` [C_out, P]."""
    columns = x.shape[1]
    found = x.new_zeros(len(shifts), x.shape[0], grad.shape[0])
    for start, stop in blocks(*grad.shape):
        for tap, shift in zip(found, shifts, strict=True):
            first, last = max(start, -shift), min(stop, columns - shift)
            if first < last:
                tap.addmm_(x[:, first + shift : last + shift], grad[:, first:last].T)
    return found
