"""The contract that every update rule keeps, and the few types it speaks in.

Shapes: T tasks, B examples, N units, D inputs, L layers. A rule is written for one task; the batch over tasks
comes from ``torch.func.vmap``, unless the rule has a faster ``batched_step`` of its own.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.func import vmap

State = dict[str, Tensor]
"""What the inner loop changes: a flat dict of tensors that can be stacked over tasks, detached and saved."""

Views = Mapping[str, Tensor]
"""What a rule may look at in one inner step, by name: the views named in its ``consumes`` and nothing else."""

UNLABELLED = "unlabelled"
"""The view [B, D] of a batch of examples without labels, another one at every inner step."""

SUPPORT = ("support_x", "support_y")
"""The views [S, D] and int64 [S] of a task's labelled examples, the same at every inner step."""

Statistics = Sequence[tuple[Tensor, Tensor]]
"""Mean and variance [N_l] of each normalised layer's linear part."""


class Activations(NamedTuple):
    """One forward pass. Index = layer; layer 0 is the input, where ``z`` repeats ``x`` and mean, var are empty.

    For several tasks at once every tensor has a leading T.
    """

    x: list[Tensor]
    """Post-activations, [B, N_l] each."""
    z: list[Tensor]
    """Pre-activations after batch normalisation and bias, [B, N_l] each."""
    mean: list[Tensor]
    """Batch mean of the linear part, [N_l] each."""
    var: list[Tensor]
    """Biased batch variance of the linear part, [N_l] each."""


class Network(Protocol):
    """A base network as a rule sees it. The network has no weights of its own: they are in the State."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, the input first: (D, N_1, ..., N_L)."""
        ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what gradient descent may train: ``w{l}`` [fan-in, N_l], ``b{l}`` and maybe ``g{l}`` of layer l.

        In their order: the head of a network that has one comes last.
        """
        ...

    @property
    def competes(self) -> bool:
        """Whether the units of a hidden layer compete for an example; otherwise each answers by itself."""
        ...

    def forward(self, state: State, x: Tensor, statistics: Statistics | None = None) -> Activations:
        """The forward pass of ``x`` [B, D], normalised by the statistics of this batch, or by those given.

        With a leading T in every tensor of ``state`` and in ``x``, that of T tasks.
        """
        ...

    def statistics(self, state: State, x: Tensor) -> Statistics:
        """The statistics of ``x`` [B, D], by which other examples can be normalised."""
        ...

    def __hash__(self) -> int:
        """Equal networks run as one batch and share a compiled step."""
        ...


class Rule(nn.Module):
    """A learned update rule. Its parameters and buffers are the θ that the outer loop improves.

    A subclass sets ``consumes`` and ``config`` and defines ``init_state`` and ``step``. Both are pure: the same
    arguments and θ give the same bits. ``step`` must work under ``torch.func.vmap`` and be differentiable in θ and in
    the state. No labels reach an unsupervised rule, since ``views`` holds only what ``consumes`` names.
    """

    name: ClassVar[str]
    consumes: ClassVar[tuple[str, ...]] = (UNLABELLED,)
    networks: ClassVar[tuple[str, ...]] = ("mlp",)
    """The kinds of base network that the rule can train."""
    equivariant: ClassVar[frozenset[str]] = frozenset()
    """Which permutations the rule claims to commute with: any of "units", "inputs", "examples"."""

    config: dict[str, int | float | bool | str]
    """The keyword arguments that rebuild the rule: ``type(rule)(**rule.config)``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass with a ``step`` of its own does not inherit a ``batched_step`` that computes another one."""
        super().__init_subclass__(**kwargs)
        if "step" in vars(cls) and "batched_step" not in vars(cls):
            cls.batched_step = Rule.batched_step  # type: ignore[method-assign]

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """A fresh State for ``network``, float32 on the CPU, drawn from ``generator``."""
        raise NotImplementedError

    def step(self, network: Network, state: State, views: Views) -> State:
        """The State after one inner step on ``views``, those that ``consumes`` names."""
        raise NotImplementedError

    def batched_step(self, network: Network, state: State, views: Views) -> State:
        """One inner step of T tasks: ``step`` for every task of ``state`` [T, ...] and ``views`` [T, ...].

        A rule whose time matters may compute the same faster. It need not work under vmap then, and its gradient may be
        taken once only.
        """
        return self.vmapped_step(network, state, views)

    def vmapped_step(self, network: Network, state: State, views: Views) -> State:
        """What ``batched_step`` computes, by vmap of ``step``: slower, but ``torch.compile`` can take it."""

        def step(state: State, views: Views) -> State:
            return self.step(network, state, views)

        return vmap(step)(state, dict(views))

    def features(self, network: Network, state: State, x: Tensor, frozen_on: Tensor | None = None) -> Tensor:
        """The representation [B, N_L] of ``x`` [B, D], normalised by the statistics of this batch.

        With ``frozen_on`` [B', D], by the statistics of those examples instead.
        """
        statistics = None if frozen_on is None else network.statistics(state, frozen_on)
        return network.forward(state, x, statistics).x[-1]

    def forward(self, method: str, *arguments: Any) -> Any:
        """A method such as ``step`` by name: ``torch.func.functional_call`` calls a module only."""
        return getattr(self, method)(*arguments)

    def describe(self) -> dict[str, float]:
        """Named scalars of θ worth following in a run, such as learned rates and mixing weights."""
        return {}
