"""``expected_score``: the adjusted Rand index of the way to cluster that a rule takes, of a finite family."""

import torch
from torch import Tensor

from outer_loop.readouts.contract import Reading, Readout
from outer_loop.readouts.pairwise import expected_rand, pairs_of_classes


class ExpectedScore(Readout):
    """One less the index of the way that most speaks for; the accuracy is the index.

    It reads for each of A ways what speaks for it, and its partition: [A, 1 + Q].
    """

    reads = "choices"
    differentiable = False
    needs_support = False

    def read(self, support: Tensor | None, y_support: Tensor, query: Tensor, y_query: Tensor, ways: int) -> Reading:
        """From what speaks for each way and the partitions, [A, 1 + Q], and classes [Q]."""
        index = self.each(query, y_query).index_select(0, query[:, 0].argmax().reshape(1))[0]
        return Reading(1 - index, index)

    def each(self, query: Tensor, y_query: Tensor) -> Tensor:
        """The index [A] of every partition of ``query`` [A, 1 + Q]; rows of no class, -1, count for nothing."""
        together, counts = pairs_of_classes(y_query, query.dtype)
        return torch.stack(
            [expected_rand((one[:, None] == one[None]).to(query.dtype), together, counts) for one in query[:, 1:]]
        )
