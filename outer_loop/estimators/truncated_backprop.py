"""Outer estimators: from θ, in-flight states and data to an update for θ and the carried states.

An estimator returns an update and not a gradient, since some (evolution strategies, a choice among a finite family)
have none. The optimiser takes the update in the place where torch puts a gradient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from inner_loop.state import detach_state, finite_tasks, stack_states, unstack_state
from inner_loop.unroll import Theta, unroll
from outer_loop.readouts.objective import RIDGE, Objective
from tasks.task import Episode
from update_rules.contract import Network, Rule, State


@dataclass(frozen=True)
class Piece:
    """One task's part in an outer step."""

    network: Network
    state: State
    views: Mapping[str, Tensor]
    """[K, ...] each: what every inner step sees, the views that the rule consumes and no others."""
    read_points: tuple[int, ...]
    """Counts of inner steps after which the meta-objective is taken; the last is K."""
    episodes: tuple[Episode, ...]
    """The labelled examples of every read point. Only the readout sees them, unless views hold a support set."""
    ways: int
    read_weights: tuple[float, ...] | None = None
    """What the loss at each read point counts, 1 in all; None is all alike."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What must agree for two pieces to run as one batch."""
        episode = self.episodes[0]
        return (
            self.network,
            tuple((name, view.shape) for name, view in self.views.items()),
            self.read_points,
            self.read_weights,
            self.ways,
            episode.support_x.shape,
            episode.query_x.shape,
        )


@dataclass
class Estimate:
    """What an outer step learned from its pieces."""

    update: dict[str, Tensor]
    """For every trainable name of θ: the mean over the tasks that were kept. The optimiser descends along it."""
    states: list[State | None]
    """The carried state of every piece, None where the task became non-finite and was dropped."""
    meta_loss: float
    accuracy: float
    """Share of query examples read out rightly, mean over kept tasks and (weighted as the losses) read points."""
    dropped: list[int] = field(default_factory=list)
    """Indices of the pieces that were dropped."""

    @property
    def kept(self) -> int:
        """How many tasks the means are over."""
        return len(self.states) - len(self.dropped)


class _View(Sequence[Tensor]):
    """A view [T, ...] of pieces at every step, made when asked for: nobody needs those of all steps at once."""

    def __init__(self, views: Sequence[Tensor]) -> None:
        self.views = views

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, step: Any) -> Any:
        return torch.stack([view[step] for view in self.views])


class OuterEstimator(Protocol):
    """Anything that turns an outer step's pieces into an update for θ."""

    def estimate(self, rule: Rule, theta: Theta, pieces: Sequence[Piece]) -> Estimate:
        """The update for ``theta`` and the carried states. Pure: the same arguments give the same bits."""
        ...


class _Group(NamedTuple):
    """Results of pieces of one shape, by their place in the outer step: sums over tasks, not means."""

    gradient: dict[str, Tensor]
    kept: list[int]
    states: list[State]
    loss: float
    accuracy: float


@dataclass(frozen=True)
class TruncatedBackprop:
    """The gradient of the meta-objective at the read points, through one piece of unroll from a detached state.

    Metz et al. (2019), section 5.3. ``recompute`` trades a second forward pass for memory; ``compiled`` takes the inner
    step through ``torch.compile``. Pieces of equal shape run as one batch. A task whose state, loss or gradient is not
    finite is left out as if it had not been there.
    """

    objective: Objective = RIDGE
    recompute: bool = True
    compiled: bool = False

    def estimate(self, rule: Rule, theta: Theta, pieces: Sequence[Piece]) -> Estimate:
        """Mean gradient over the tasks with finite numbers, each task weighted the same."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, piece in enumerate(pieces):
            groups.setdefault(piece.shape, []).append(index)
        done = [self._run(rule, theta, pieces, members) for members in groups.values()]
        kept = sum(len(group.kept) for group in done)
        states: list[State | None] = [None] * len(pieces)
        for group in done:
            for index, state in zip(group.kept, group.states, strict=True):
                states[index] = state
        scale = 1 / max(kept, 1)
        names = [name for name, value in theta.items() if value.requires_grad]
        update = {
            name: sum((group.gradient[name] for group in done if group.kept), torch.zeros_like(theta[name])) * scale
            for name in names
        }
        return Estimate(
            update=update,
            states=states,
            meta_loss=sum(group.loss for group in done) * scale if kept else float("nan"),
            accuracy=sum(group.accuracy for group in done) * scale if kept else float("nan"),
            dropped=[index for index, state in enumerate(states) if state is None],
        )

    def _run(self, rule: Rule, theta: Theta, pieces: Sequence[Piece], members: list[int]) -> _Group:
        """The group's gradient; tasks with non-finite numbers are found, left out, and the rest runs again."""
        trainable = {name: value for name, value in theta.items() if value.requires_grad}
        nothing = _Group({}, [], [], 0.0, 0.0)
        if not members:
            return nothing
        losses, accuracies, final = self._forward(rule, theta, [pieces[index] for index in members])
        good = losses.isfinite().all(0) & finite_tasks(final)
        if not bool(good.all()):
            # Masking the loss is not enough: zero times infinity in the backward pass would reach θ.
            return self._run(rule, theta, pieces, [m for m, ok in zip(members, good.tolist(), strict=True) if ok])
        weights = pieces[members[0]].read_weights
        total = _over_reads(losses, weights).sum()
        gradients = torch.autograd.grad(total, list(trainable.values()), allow_unused=True)
        gradient = {
            name: torch.zeros_like(value) if grad is None else grad
            for (name, value), grad in zip(trainable.items(), gradients, strict=True)
        }
        if all(bool(grad.isfinite().all()) for grad in gradient.values()):
            states = unstack_state(detach_state(final))
            accuracy = float(_over_reads(accuracies, weights).sum())
            return _Group(gradient, members, states, float(total.detach()), accuracy)
        if len(members) == 1:
            return nothing
        return _merge([self._run(rule, theta, pieces, [member]) for member in members])

    def _forward(self, rule: Rule, theta: Theta, pieces: Sequence[Piece]) -> tuple[Tensor, Tensor, State]:
        """Losses and accuracies [R, T] at the R read points, and the final State [T, ...]."""
        first = pieces[0]
        network, ways = first.network, first.ways
        reads = unroll(
            rule,
            theta,
            network,
            stack_states([piece.state for piece in pieces]),
            {name: _View([piece.views[name] for piece in pieces]) for name in first.views},
            read_points=first.read_points,
            recompute=self.recompute,
            compiled=self.compiled,
        )

        losses, accuracies = [], []
        for point, state in enumerate(reads):
            drawn = stacked_episodes([piece.episodes[point] for piece in pieces])
            reading = self.objective.read_tasks(rule, theta, network, state, drawn, ways)
            losses.append(reading.loss)
            accuracies.append(reading.accuracy.detach())
        return torch.stack(losses), torch.stack(accuracies), reads[-1]


def stacked_episodes(episodes: Sequence[Episode]) -> Episode:
    """The episodes of T tasks as one with a leading T in every tensor."""
    return Episode(*(torch.stack(part) for part in zip(*episodes, strict=True)))


def _over_reads(values: Tensor, weights: tuple[float, ...] | None) -> Tensor:
    """The mean [T] of ``values`` [R, T] over the read points, weighted or plain."""
    return values.mean(0) if weights is None else (values * values.new_tensor(weights)[:, None]).sum(0)


def _merge(groups: Sequence[_Group]) -> _Group:
    """The sum of groups that were run one by one; those that kept nothing count for nothing."""
    kept = [group for group in groups if group.kept]
    if not kept:
        return _Group({}, [], [], 0.0, 0.0)
    return _Group(
        {name: torch.stack([group.gradient[name] for group in kept]).sum(0) for name in kept[0].gradient},
        [index for group in kept for index in group.kept],
        [state for group in kept for state in group.states],
        sum(group.loss for group in kept),
        sum(group.accuracy for group in kept),
    )
