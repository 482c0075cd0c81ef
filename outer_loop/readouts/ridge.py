"""``ridge``: the original meta-objective, how well a few labels read the features out by ridge regression."""

from torch import Tensor

from common.checked import Rate
from outer_loop.readouts.contract import Reading, Readout
from outer_loop.readouts.metz_objective import metz_objective


class Ridge(Readout):
    """Metz et al. (2019), section 3.3, with ``penalty`` on the squared weights. See ``metz_objective``."""

    def __init__(self, penalty: Rate = 0.1) -> None:
        self.penalty = penalty

    def read(self, support: Tensor | None, y_support: Tensor, query: Tensor, y_query: Tensor, ways: int) -> Reading:
        """The cosine distance of predictions to targets plus the penalty, and the accuracy."""
        assert support is not None
        found = metz_objective(support, y_support, query, y_query, ways, self.penalty)
        return Reading(found.loss, found.accuracy_query)
