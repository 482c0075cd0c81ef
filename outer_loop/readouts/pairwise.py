"""``pairwise``: whether examples of one cluster are found to belong together, whatever clusters are called."""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.checked import NotNegative
from outer_loop.readouts.contract import Reading, Readout

TINY = 1e-6
"""Keeps a set without two examples to compare from dividing by zero."""


class Pairwise(Readout):
    """The cross-entropy of pairs, together or apart, plus ``rand`` times one less the expected adjusted Rand index.

    It reads for each pair of the Q rows a logit, [Q, Q], that they belong together (Jiang and Verma, 2019, leave the
    loss open). Rows of no class count for nothing. The accuracy is that index.
    """

    reads = "pairs"
    needs_support = False

    def __init__(self, rand: NotNegative = 1.0) -> None:
        self.rand = rand

    def read(self, support: Tensor | None, y_support: Tensor, query: Tensor, y_query: Tensor, ways: int) -> Reading:
        """Mean over pairs, from logits [Q, Q] and classes [Q]."""
        together, counts = pairs_of_classes(y_query, query.dtype)
        each = F.binary_cross_entropy_with_logits(query, together, reduction="none")
        index = expected_rand(torch.sigmoid(query), together, counts)
        loss = (each * counts).sum() / counts.sum().clamp_min(1) + self.rand * (1 - index)
        return Reading(loss, index.detach())


def pairs_of_classes(y: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Of classes ``y`` [Q] whether two rows belong together, and which pairs count, 1 or 0, [Q, Q] each.

    Those of a row and itself, and of one of no class, -1, count for nothing.
    """
    known = (y >= 0).to(dtype)
    counts = (known[:, None] * known[None]) * (1 - torch.eye(len(y), device=y.device))
    return (y[:, None] == y[None]).to(dtype), counts


def expected_rand(found: Tensor, together: Tensor, counts: Tensor) -> Tensor:
    """The adjusted Rand index of Hubert and Arabie (1985) with chances in the place of pairs, a scalar.

    ``found`` [Q, Q] are chances that two rows are put together, ``together`` [Q, Q] whether they belong together, 1 or
    0, and ``counts`` [Q, Q] 1 for the pairs that count. Where all chances are 0 or 1 it is the index itself.
    """
    pairs = counts.sum().clamp_min(TINY)
    of_found, of_classes = (found * counts).sum(), (together * counts).sum()
    agreed, by_chance = (found * together * counts).sum(), of_found * of_classes / pairs
    return (agreed - by_chance) / ((of_found + of_classes) / 2 - by_chance).clamp_min(TINY)
