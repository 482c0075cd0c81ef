"""Gradient descent on the networks of T tasks at once: stacked parameters [T, ...], losses summed over tasks.

No parameter meets another task's loss and Adam works element by element: a task is trained as it would be alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor

from evaluation.baselines.networks import dense_network, frozen_embedding
from evaluation.method import Fitted, Method, embeddings
from evaluation.paired_tasks import BASELINE, PairedTask
from evaluation.protocol import Use
from inner_loop.networks.mlp import MLP
from inner_loop.state import unstack_state
from tasks.task import Episode

EXAMPLES = 5000
"""At most so many different unlabelled examples of a task are learned from."""

Parameters = dict[str, Tensor]
"""Stacked parameters, [T, ...] each; those of a network carry its name and a dot before theirs."""

Batches = Iterator[Tensor]
Loss = Callable[[Parameters], Tensor]
"""Stacked parameters give the losses [T] of the tasks."""

Training = tuple[Parameters, Loss]
"""What is trained beside an encoder, at its start, and the loss."""


@dataclass(frozen=True)
class Draws:
    """Random numbers of T tasks, each from a stream of its own."""

    generators: Sequence[Generator]
    device: torch.device | None = None
    """Where what is drawn lies, None for the CPU; the numbers do not depend on it."""

    @classmethod
    def of(cls, tasks: Sequence[PairedTask], device: torch.device | None = None) -> "Draws":
        """Streams at their beginning."""
        return cls([task.generator(BASELINE) for task in tasks], device)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers [T, *shape]."""
        return self.stacked(torch.randn(*shape, generator=generator) for generator in self.generators)

    def below(self, share: float, *shape: int) -> Tensor:
        """bool [T, *shape], true with probability ``share``."""
        return self.stacked(torch.rand(*shape, generator=generator) < share for generator in self.generators)

    def whole(self, below: int, *shape: int) -> Tensor:
        """int64 [T, *shape], uniform from 0 to ``below`` - 1."""
        return self.stacked(torch.randint(below, shape, generator=generator) for generator in self.generators)

    def dropped(self, share: float, x: Tensor) -> Tensor:
        """``x`` [T, B, D] with inputs set to 0 with probability ``share``."""
        return x.masked_fill(self.below(share, *x.shape[1:]), 0.0) if share else x

    def stacked(self, parts: Iterable[Tensor]) -> Tensor:
        """The ``parts`` of the tasks as one [T, ...], where what is drawn lies."""
        return torch.stack(list(parts)).to(self.device)


def unlabelled_batches(tasks: Sequence[PairedTask], batch: int, draws: Draws) -> Iterator[Tensor]:
    """Random batches [T, B, D] without end from EXAMPLES different unlabelled examples of each task, or all it has."""
    seen = [
        task.task.unlabelled(generator, 1, min(EXAMPLES, len(task.task.seen)))[0]
        for task, generator in zip(tasks, draws.generators, strict=True)
    ]
    while True:
        some = zip(seen, draws.generators, strict=True)
        yield draws.stacked(x[torch.randint(len(x), (batch,), generator=generator)] for x, generator in some)


def weights(name: str, sizes: Sequence[int], draws: Draws) -> Parameters:
    """Weights with deviation 1 / sqrt(fan-in) and zero biases for the layers of ``sizes``, as ``name.w1`` and so on."""
    parameters = {}
    for layer, (low, up) in enumerate(pairwise(sizes), start=1):
        parameters[f"{name}.w{layer}"] = draws.normal(low, up) / low**0.5
        parameters[f"{name}.b{layer}"] = torch.zeros(len(draws.generators), up, device=draws.device)
    return parameters


def part(parameters: Mapping[str, Tensor], name: str) -> Parameters:
    """The parameters of the network ``name``, without its name."""
    return {key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")}


def affine(parameters: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """``x`` [T, B, N] through the one layer of the network ``name``, without normalisation: [T, B, M]."""
    return torch.baddbmm(parameters[f"{name}.b1"][:, None], x, parameters[f"{name}.w1"])


def minimise(
    parameters: Parameters, loss: Loss, *, steps: int, learning_rate: float, weight_decay: float = 0.0
) -> Parameters:
    """``parameters`` after ``steps`` steps of Adam on ``loss``, with a rate that falls linearly to 0."""
    trained = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    optimiser = torch.optim.AdamW(trained.values(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 - step / steps)
        optimiser.zero_grad()
        loss(trained).sum().backward()
        optimiser.step()
    return {name: value.detach() for name, value in trained.items()}


@dataclass(frozen=True)
class Encoder(Method):
    """A base network for each task, the encoder, trained by gradient descent on the ``objective`` of a subclass."""

    inner: Use
    settings: Any
    """Has ``steps``, ``learning_rate``, ``code`` and maybe ``weight_decay``."""

    def objective(self, network: MLP, draws: Draws, batches: Batches, episodes: Sequence[Episode]) -> Training:
        """How the encoder ``network`` is trained, maybe on unlabelled ``batches`` [T, B, D]."""
        raise NotImplementedError

    def code(self, network: MLP, parameters: Parameters, x: Tensor) -> Tensor:
        """What the encoder puts out for ``x`` [T, B, D]: [T, B, N]."""
        seen = network.forward(part(parameters, "encoder"), x)
        return seen.z[-1] if self.settings.code == "linear" else seen.x[-1]

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """One read of the trained encoders, with frozen batch-norm statistics."""
        settings, draws = self.settings, Draws.of(tasks, self.inner.device)
        network = dense_network(tasks[0], self.inner)
        start = weights("encoder", network.sizes, draws)
        beside, loss = self.objective(network, draws, unlabelled_batches(tasks, self.inner.batch, draws), episodes)
        decay = getattr(settings, "weight_decay", 0.0)
        trained = minimise(
            start | beside, loss, steps=settings.steps, learning_rate=settings.learning_rate, weight_decay=decay
        )
        states = unstack_state({name: value.cpu() for name, value in part(trained, "encoder").items()})
        pairs, linear = zip(states, tasks, strict=True), settings.code == "linear"
        return [embeddings([frozen_embedding(network, state, task, linear=linear) for state, task in pairs])]
