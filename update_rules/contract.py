"""The contract that every update rule keeps, and the few types it speaks in.

Shapes: T tasks, B examples, N units, D inputs, L layers. Everything here is written for one task; the batch over
tasks comes from ``torch.func.vmap``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn

State = dict[str, Tensor]
"""What the inner loop changes: a flat dict of tensors that can be stacked over tasks, detached and saved."""

Views = Mapping[str, Tensor]
"""What a rule may look at in one inner step, by name: the views named in its ``consumes`` and nothing else."""


class Activations(NamedTuple):
    """One forward pass. Index = layer; layer 0 is the input, where ``z`` repeats ``x`` and mean, var are empty."""

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

    def forward(self, state: State, x: Tensor) -> Activations:
        """The forward pass of ``x`` [B, D], normalised by the statistics of this batch."""
        ...


class Rule(nn.Module):
    """A learned update rule. Its parameters and buffers are the θ that the outer loop improves.

    A subclass sets ``consumes`` and ``config`` and defines ``init_state`` and ``step``. Both are pure: the same
    arguments and θ give the same bits. ``step`` must work under ``torch.func.vmap`` and be differentiable in θ and in
    the state. No labels reach an unsupervised rule, since ``views`` holds only what ``consumes`` names.
    """

    name: ClassVar[str]
    consumes: ClassVar[tuple[str, ...]] = ("unlabelled",)
    equivariant: ClassVar[frozenset[str]] = frozenset()
    """Which permutations the rule claims to commute with: any of "units", "inputs", "examples"."""

    config: dict[str, int | float | bool | str]
    """The keyword arguments that rebuild the rule: ``type(rule)(**rule.config)``."""

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """A fresh State for ``network``, float32 on the CPU, drawn from ``generator``."""
        raise NotImplementedError

    def step(self, network: Network, state: State, views: Views) -> State:
        """The State after one inner step on ``views`` (``unlabelled``: [B, D])."""
        raise NotImplementedError

    def features(self, network: Network, state: State, x: Tensor) -> Tensor:
        """The representation [B, N_L] of ``x`` [B, D], normalised by the statistics of this batch."""
        return network.forward(state, x).x[-1]

    def forward(self, method: str, *arguments: Any) -> Any:
        """``step`` or ``features`` by name, since ``torch.func.functional_call`` calls a module and not its methods."""
        return getattr(self, method)(*arguments)

    def describe(self) -> dict[str, float]:
        """Named scalars of θ worth following in a run, such as learned rates and mixing weights."""
        return {}
