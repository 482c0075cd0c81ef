"""Contract 5: from θ, trajectories in flight and data to a direction for θ and the carried states.

A direction and not a gradient, since evolution strategies have none; the optimiser takes it in a gradient's place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from outer_loop.readouts.objective import Objective
from tasks.task import Episode
from update_rules.contract import Problem, Rule, State, Theta

Carried = dict[str, Tensor]
"""What an estimator keeps of a trajectory from one outer step to the next: a State, and perturbations if any."""

Memory = dict[str, Tensor]
"""What an estimator keeps across outer steps. Ranks go on from the mean of theirs, weighted by the tasks they kept."""


@dataclass(frozen=True)
class TruncatedUnroll:
    """One task's part in an outer step: a stretch of its trajectory, with all data drawn."""

    problem: Problem
    carried: Carried
    """As ``start`` or the last ``estimate`` left it."""
    views: Mapping[str, Tensor]
    """[K, ...] each: what every inner step sees, the views that the rule consumes and no others."""
    read_points: tuple[int, ...]
    """Counts of inner steps after which the meta-objective is taken; the last is K."""
    episodes: tuple[Episode, ...]
    """The labelled examples of every read point. Only the readout sees them, unless views hold a support set."""
    ways: int
    generator: torch.Generator
    """The trajectory's own: all noise comes from it, so that ranks draw alike and an outer step can be rewound."""
    read_weights: tuple[float, ...] | None = None
    """What the loss at each read point counts, 1 in all; None is all alike."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What must agree for two unrolls to run as one batch."""
        episode = self.episodes[0]
        return (
            self.problem,
            tuple((name, view.shape) for name, view in self.views.items()),
            self.read_points,
            self.read_weights,
            self.ways,
            episode.support_x.shape,
            episode.query_x.shape,
        )


@dataclass
class Estimate:
    """What an outer step learned from its unrolls."""

    direction: dict[str, Tensor]
    """For every trainable name of θ: the mean over the tasks that were kept. The optimiser descends along it."""
    carried: list[Carried | None]
    """What is carried on of every unroll, None where the task became non-finite and was dropped."""
    meta_loss: float
    accuracy: float
    """Share of query examples read out rightly, mean over kept tasks and (weighted as the losses) read points."""
    memory: Memory = field(default_factory=dict)
    dropped: list[int] = field(default_factory=list)
    """Indices of the unrolls that were dropped."""

    @property
    def kept(self) -> int:
        """How many tasks the means are over."""
        return len(self.carried) - len(self.dropped)


class Estimator:
    """Turns an outer step's unrolls into a direction for θ. Its options are the arguments of its constructor.

    Pure: the same arguments, with generators in the same state, give the same bits. Only finite tasks count.
    """

    needs_gradient: ClassVar[bool] = True
    """Whether the inner step must be differentiable."""
    reads: ClassVar[str | None] = None
    """What rules and readouts it is for, by what a rule ``gives``; None for all."""
    whole_trajectories: ClassVar[bool] = False
    """Whether a trajectory may not be cut into truncated unrolls."""
    compiles: ClassVar[bool] = True
    """Whether its unrolls can go through a compiled step."""

    objective: Objective = Objective()
    recompute: bool = True
    """Whether inner steps run again in the backward pass, to save memory."""
    compiled: bool = False
    """Whether the inner step goes through ``torch.compile``."""

    def configured(self, objective: Objective, *, recompute: bool = True, compiled: bool = False) -> "Estimator":
        """This estimator, told what it estimates and how unrolls run."""
        self.objective, self.recompute, self.compiled = objective, recompute, compiled
        return self

    def chosen(self, rule: Rule, memory: Memory) -> dict[str, Tensor] | None:
        """The values of θ, by name, that follow from ``memory`` alone; None where the optimiser descends instead."""
        return None

    def start(self, rule: Rule, theta: Theta, state: State, generator: torch.Generator) -> Carried:
        """What is carried of a trajectory that starts at ``state``."""
        return state

    def estimate(self, rule: Rule, theta: Theta, unrolls: Sequence[TruncatedUnroll], memory: Memory) -> Estimate:
        """The direction for ``theta``, what is carried on, and the new ``memory``."""
        raise NotImplementedError(f"{type(self).__name__} defines no estimate, which every estimator does")
