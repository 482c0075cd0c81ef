"""The meta-objective: a readout and the examples that normalise its features, applied to one task or to T at once."""

from dataclasses import dataclass, field

from torch import Tensor
from torch.func import vmap

from inner_loop.unroll import theta_axes
from outer_loop.readouts.contract import Learned, Reading, Readout
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.ridge import Ridge
from tasks.task import Episode
from update_rules.contract import OF_SETS, Problem, Rule, State, Theta


@dataclass(frozen=True)
class Objective:
    """What the outer loop minimises."""

    readout: Readout = field(default_factory=Ridge)
    normalisation: Normalisation = field(default_factory=Normalisation)

    def read(self, learned: Learned, episode: Episode, ways: int, unlabelled: Tensor | None = None) -> Reading:
        """The reading of one task; works under ``torch.func.vmap`` and is differentiable in θ and the State."""
        x, y, query_x, query_y = episode
        if self.readout.reads in OF_SETS:
            return self.readout.read(None, y, learned.outputs(), query_y, ways)
        support, query = self.normalisation.features(learned, x, query_x, unlabelled, self.readout.needs_support)
        return self.readout.read(support, y, query, query_y, ways)

    def read_tasks(
        self,
        rule: Rule,
        theta: Theta,
        problem: Problem,
        state: State,
        episodes: Episode,
        ways: int,
        unlabelled: Tensor | None = None,
    ) -> Reading:
        """The readings [T] of T tasks at once, with a leading T in every tensor but a ``theta`` that they share."""

        def read(theta: Theta, state: State, episode: Episode, unlabelled: Tensor | None) -> Reading:
            return self.read(Learned(rule, theta, problem, state), episode, ways, unlabelled)

        axes = (theta_axes(rule, theta), 0, 0, None if unlabelled is None else 0)
        return vmap(read, axes)(dict(theta), state, episodes, unlabelled)
