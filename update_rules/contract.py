"""Contract 2: what every update rule promises, and the few types it speaks in.

Shapes: T tasks, B examples, N units, D inputs, L layers, K inner steps.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn
from torch.func import vmap

from common.components import arguments_of
from update_rules.declared import only_declared
from update_rules.noise import without_noise

State = dict[str, Tensor]
"""What the inner loop changes: a flat dict of tensors that can be stacked over tasks, detached and saved."""

Theta = Mapping[str, Tensor]
"""Parameters and buffers of a rule by name, as ``torch.func.functional_call`` takes them."""

StepViews = Mapping[str, Tensor]
"""What a rule may look at in one inner step, by name: the views of its phase and nothing else."""

UNLABELLED = "unlabelled"
"""The view [B, D] of a batch of examples without labels, another one at every inner step."""

SUPPORT = ("support_x", "support_y")
"""The views [S, D] and int64 [S] of a task's labelled examples, the same at every inner step."""

OF_SETS = frozenset({"pairs", "choices"})
"""What a rule may give that clusters whole sets: a logit for each pair of points, or a family of partitions."""

Statistics = Mapping[str, Tensor]
"""What normalises examples one by one: of a base network ``mean{l}`` and ``var{l}`` [N_l] of layer l's linear part."""


class Activations(NamedTuple):
    """One forward pass by layer, maybe with a leading T; layer 0 is the input, with ``z`` = ``x``, empty mean, var."""

    x: list[Tensor]
    """Post-activations, [B, N_l] each."""
    z: list[Tensor]
    """Pre-activations after batch normalisation and bias, [B, N_l] each."""
    mean: list[Tensor]
    """Batch mean of the linear part, [N_l] each."""
    var: list[Tensor]
    """Biased batch variance of the linear part, [N_l] each."""

    def statistics(self) -> Statistics:
        """``mean{l}`` and ``var{l}`` of the layers that have them, by which other examples can be normalised."""
        kinds = (("mean", self.mean), ("var", self.var))
        return {f"{kind}{i}": value for kind, values in kinds for i, value in enumerate(values) if value.numel()}


class Network(Protocol):
    """A base network as a rule sees it; its weights are in the State. Equal ones share a batch and a compiled step."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Units of every layer, the input first: (D, N_1, ..., N_L)."""
        ...

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of what gradient descent may train: ``w{l}`` [fan-in, N_l], ``b{l}``, maybe ``g{l}``; a head last.

        Below the last layer ``g{l}`` and ``b{l}`` scale and shift what is normalised.
        """
        ...

    @property
    def competes(self) -> bool:
        """Whether the units of a hidden layer compete for an example; otherwise each answers by itself."""
        ...

    def forward(self, state: State, x: Tensor, statistics: Statistics | None = None) -> Activations:
        """The forward pass of ``x`` [B, D], or with a leading T everywhere, normalised by this batch or as given."""
        ...


@dataclass(frozen=True)
class Problem:
    """What a rule knows of a task besides its views; equal problems run as one batch and share a compiled step."""

    inputs: int
    """D, the width of an example."""
    network: Any = None
    """The base ``Network`` to be trained, or None."""
    ways: int = 0
    """Classes to be told apart; 0 where nobody has said."""
    image_shape: tuple[int, ...] | None = None
    """(H, W) or (H, W, 3) where inputs are the pixels of an image in their order."""
    views: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Name and shape of each view at one inner step."""
    normalisation: str = "batch"
    """By which examples features are normalised when they are read out: see ``outer_loop.readouts.normalisation``."""

    @classmethod
    def of(cls, network: Network, **more: Any) -> Self:
        """The problem of training ``network``."""
        return cls(network.sizes[0], network, **more)


class Phase(NamedTuple):
    """A stretch of inner steps that look at the same views."""

    name: str
    views: tuple[str, ...]
    steps: int


def over_tasks(batching: Literal["vmap", "loop"], step: Callable[..., State], *parts: Mapping[str, Tensor]) -> State:
    """``step`` of every task of ``parts``, each with a leading T in its tensors, as ``Rule.batching`` says."""
    if batching == "vmap":
        return vmap(step)(*map(dict, parts))
    count = len(next(iter(parts[0].values())))
    each = [step(*({name: value[task] for name, value in part.items()} for part in parts)) for task in range(count)]
    return {name: torch.stack([one[name] for one in each]) for name in each[0]}


class Rule(nn.Module):
    """A learned update rule. Its parameters and buffers are the θ that the outer loop improves.

    A subclass defines ``init_state`` and ``step``; ``name`` is that of its class where it sets none. Both are pure: the
    same arguments and θ give the same bits; randomness is drawn in ``init_state`` and kept in the State. ``step`` must
    work under ``torch.func.vmap`` (or say ``batching = "loop"``), be differentiable in θ and in the state, and keep
    shapes without reading values. No labels reach an unsupervised rule, since views hold only what its phase names.
    Nobody else touches a State: what came of it is read through ``statistics``, ``features`` and ``pictures``.
    """

    name: ClassVar[str]
    consumes: ClassVar[tuple[str, ...]] = (UNLABELLED,)
    """The views that the rule looks at, of those in ``tasks.views``."""
    gives: ClassVar[str] = "features"
    """What a readout reads: "features", or with ``features`` the "logits" of a task's classes, or one of OF_SETS."""
    layers: ClassVar[frozenset[str]] = frozenset({"dense"})
    """The kinds of layers of a base network that the rule can train; "none" where it trains none."""
    normalisations: ClassVar[frozenset[str]] = frozenset({"batch", "support", "unlabelled"})
    """By which examples its features can be normalised."""
    equivariant: ClassVar[frozenset[str]] = frozenset()
    """Which permutations the rule claims to commute with: any of "units", "inputs", "examples"."""
    one_network: ClassVar[bool] = False
    """Whether θ fits a single base network: no choices of sizes and activations."""
    whole_trajectories: ClassVar[bool] = False
    """Whether a trajectory may not be cut into truncated unrolls."""
    compiles: ClassVar[bool] = True
    """Whether the inner step can go through ``torch.compile``."""
    compiled_batch: ClassVar[bool] = False
    """Whether that takes ``batched_step``, of operations of torch alone, and not ``step`` under vmap."""
    earlier: ClassVar[Mapping[str, Any]] = {}
    """Options that are newer than files which do not name them, as rules were before there was a choice."""
    theta_per_task: ClassVar[bool] = False
    """Whether ``batched_step`` also takes a θ [T, ...] in some parameters, in the place of one that tasks share."""
    batching: ClassVar[Literal["vmap", "loop"]] = "vmap"
    """How T tasks run at once by default; "loop" for steps that leave torch."""

    config: dict[str, Any]
    """The keyword arguments that rebuild the rule, ``type(rule)(**rule.config)``: those that it was built with."""

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """The rule, which knows what it is built with."""
        rule = super().__new__(cls)
        bound = arguments_of(cls).bind_partial(*arguments, **options)
        bound.apply_defaults()
        kinds = {one.name: one.kind for one in bound.signature.parameters.values()}
        extra = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        vars(rule)["config"] = {name: one for name, one in bound.arguments.items() if kinds[name] not in extra}
        return rule

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """A subclass with a ``step`` of its own does not inherit a ``batched_step`` that computes another one."""
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        if "step" in vars(cls) and "batched_step" not in vars(cls):
            cls.batched_step = Rule.batched_step  # type: ignore[method-assign]
            cls.theta_per_task = cls.compiled_batch = False

    @classmethod
    def options_for(cls, problem: Problem, seed: int) -> dict[str, Any]:
        """The options of a rule for runs of ``seed`` on problems like ``problem``, where a config does not say."""
        return {"seed": seed} if "seed" in arguments_of(cls).parameters else {}

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """A fresh State for ``problem``, float32 on the CPU, drawn from ``generator``."""
        raise NotImplementedError(f"rule {self.name} defines no init_state, which every rule does")

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The State after one inner step on ``views``, those of the ``phase``."""
        raise NotImplementedError(f"rule {self.name} defines no step, which every rule does")

    def checked_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """``step``; raises ValueError where it draws random numbers or looks at views that it does not consume."""
        with without_noise(self.name), only_declared(self.name, self.consumes):
            return self.step(problem, state, views, phase)

    def phases(self, steps: int) -> list[Phase]:
        """What the ``steps`` inner steps of a trajectory look at, one stretch after the other."""
        return [Phase("train", self.consumes, steps)]

    def batched_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step of T tasks: ``step`` for every task of ``state`` [T, ...] and ``views`` [T, ...].

        A rule may compute the same faster, without vmap, and then for a gradient that is taken once only.
        """
        with without_noise(self.name), only_declared(self.name, self.consumes):
            return over_tasks(self.batching, lambda state, views: self.step(problem, state, views, phase), state, views)

    def statistics(self, problem: Problem, state: State, x: Tensor) -> Statistics:
        """What ``x`` [B, D] gives to normalise other examples by."""
        return problem.network.forward(state, x).statistics()

    def features(self, problem: Problem, state: State, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """The representation [B, N_L] of ``x`` [B, D], normalised by this batch, or by ``statistics`` if given."""
        return problem.network.forward(state, x, statistics).x[-1]

    def features_by(self, problem: Problem, state: State, on: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The features of ``on`` [B', D] by this batch and of ``x`` [B, D] by its statistics.

        A rule may compute the same faster, in one pass of each.
        """
        statistics = self.statistics(problem, state, on)
        return self.features(problem, state, on), self.features(problem, state, x, statistics)

    def outputs(self, problem: Problem, state: State) -> Tensor:
        """What a State that is itself about the Q rows of ``query_x`` says of them, in their order.

        A logit for each pair, [Q, Q], or for each of A choices what speaks for it and its partition, [A, 1 + Q].
        """
        raise NotImplementedError

    def partition(self, problem: Problem, state: State) -> Tensor:
        """Of a rule that clusters: the cluster [Q] of each row of ``query_x``, int64 from 0. Without gradients."""
        raise NotImplementedError

    def reason(self, problem: Problem, state: State) -> str:
        """Why a State clusters as it does, in a few words for people; empty where there is nothing to say."""
        return ""

    def experience(self, problem: Problem, state: State, scores: Tensor) -> dict[str, Tensor]:
        """Of a rule of choices: what one task teaches, to be added up, given the score [A] of each choice."""
        raise NotImplementedError

    def learned(self, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of a rule of choices: θ, by name, after all that was experienced."""
        raise NotImplementedError

    def running(self) -> Statistics:
        """The statistics of meta-training in θ, of rules whose ``normalisations`` have "running" alone."""
        raise NotImplementedError

    def observed(self, problem: Problem, state: State, x: Tensor) -> State:
        """What the buffers that follow training meet in the examples ``x`` [B, D] of a task, by name of the buffer."""
        return {}

    def theta_at(self, outer_step: int) -> dict[str, Tensor]:
        """θ as the 0-based ``outer_step`` takes it: the rule's own tensors, not copies."""
        return dict(self.named_parameters()) | dict(self.named_buffers())

    def parts(self) -> Iterator[tuple[str, "Rule"]]:
        """The name of each part that an ablation may switch off, with a copy of the rule that lacks it."""
        return iter(())

    def embedder(self, problem: Problem) -> tuple[Problem, State] | None:
        """A problem and State whose features need no inner step on data; None for a rule that has to train first."""
        return None

    def pictures(self, problem: Problem, state: State) -> Tensor | None:
        """What some units have learned to look for, as weights [N, D] of the inputs; None for nothing to show."""
        w = state.get("w1")
        return w.T if w is not None and w.shape[0] == problem.inputs else None

    def forward(self, method: str, *arguments: Any) -> Any:
        """A method such as ``step`` by name: ``torch.func.functional_call`` calls a module only."""
        return getattr(self, method)(*arguments)

    def describe(self) -> dict[str, float]:
        """Named scalars of θ worth following in a run, such as learned rates and mixing weights."""
        return {}

    def equation(self) -> str:
        """θ written out for people to read, where it is short enough for that; otherwise an empty string."""
        return ""
