"""Outer estimators: from θ, in-flight states and data to an update for θ and the carried states.

An estimator returns an update and not a gradient, since some (evolution strategies, a choice among a finite family)
have none. The optimiser takes the update in the place where torch puts a gradient.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from inner_loop.states import detach_state, finite_tasks, stack_states, unstack_state
from inner_loop.unroll import Theta, unroll
from outer_loop.meta_objective import metz_objective
from tasks.task import Episode
from update_rules.contract import Network, Rule, State


@dataclass(frozen=True)
class Piece:
    """One task's part in an outer step."""

    network: Network
    state: State
    unlabelled: Tensor
    """[K, B, D]: the batch of every inner step."""
    read_points: tuple[int, ...]
    """Counts of inner steps after which the meta-objective is taken; the last is K."""
    episodes: tuple[Episode, ...]
    """The labelled examples of every read point. Only the readout sees them."""
    ways: int

    @property
    def shape(self) -> tuple[object, ...]:
        """What must agree for two pieces to run as one batch."""
        episode = self.episodes[0]
        return (
            self.network,
            self.unlabelled.shape,
            self.read_points,
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
    """Share of query examples read out rightly, mean over kept tasks and read points."""
    dropped: list[int] = field(default_factory=list)
    """Indices of the pieces that were dropped."""

    @property
    def kept(self) -> int:
        """How many tasks the means are over."""
        return len(self.states) - len(self.dropped)


class _Batches(Sequence[Tensor]):
    """The unlabelled batches [T, B, D] of pieces, made when asked for: nobody needs those of all steps at once."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return len(self.pieces[0].unlabelled)

    def __getitem__(self, step: Any) -> Any:
        return torch.stack([piece.unlabelled[step] for piece in self.pieces])


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

    Metz et al. (2019), section 5.3. ``penalty`` is the ridge penalty of the readout; ``recompute`` trades a second
    forward pass for memory; ``compiled`` takes the inner step through ``torch.compile``. Pieces of equal shape run as
    one batch. A task whose state, loss or gradient is not finite is left out as if it had not been there.
    """

    penalty: float = 0.1
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
        total = losses.mean(0).sum()
        gradients = torch.autograd.grad(total, list(trainable.values()), allow_unused=True)
        gradient = {
            name: torch.zeros_like(value) if grad is None else grad
            for (name, value), grad in zip(trainable.items(), gradients, strict=True)
        }
        if all(bool(grad.isfinite().all()) for grad in gradient.values()):
            states = unstack_state(detach_state(final))
            return _Group(gradient, members, states, float(total.detach()), float(accuracies.mean(0).sum()))
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
            {"unlabelled": _Batches(pieces)},
            read_points=first.read_points,
            recompute=self.recompute,
            compiled=self.compiled,
        )

        def read(state: State, episode: Episode) -> tuple[Tensor, Tensor]:
            x = torch.cat([episode.support_x, episode.query_x])
            features = functional_call(rule, dict(theta), ("features", network, state, x))
            shots = episode.support_x.shape[0]
            result = metz_objective(
                features[:shots], episode.support_y, features[shots:], episode.query_y, ways, self.penalty
            )
            return result.loss, result.accuracy_query.detach()

        losses, accuracies = [], []
        for point, state in enumerate(reads):
            drawn = Episode(*(torch.stack(part) for part in zip(*(p.episodes[point] for p in pieces), strict=True)))
            loss, accuracy = vmap(read)(state, drawn)
            losses.append(loss)
            accuracies.append(accuracy)
        return torch.stack(losses), torch.stack(accuracies), reads[-1]


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
