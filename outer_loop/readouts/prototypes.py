"""``prototypes``: classes are told by the nearest mean of support features (Snell et al., 2017)."""

from torch import Tensor

from common.class_means import class_means
from outer_loop.readouts.contract import Readout


class Prototypes(Readout):
    """The mean cross-entropy of minus the squared distances to the class means."""

    def scores(self, support: Tensor | None, y_support: Tensor, query: Tensor, ways: int) -> Tensor:
        """Minus the squared distances [Q, C] of queries to class means; Snell et al. (2017), algorithm 1."""
        assert support is not None
        return -((query[:, None] - class_means(support, y_support, ways)) ** 2).sum(-1)
