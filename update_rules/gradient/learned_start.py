"""What rules share whose θ is the start of a base network.

A State holds how far each weight has moved from the start, at first 0, so that the weights are θ + State. The
meta-gradient reaches the start that way although the State at the beginning of an unroll is cut off from any graph.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from update_rules.contract import Activations, Network, Problem, Rule, State, Statistics

Shapes = Mapping[str, tuple[int, ...]]
"""Shapes of a network's weights by name, as ``Network.shapes`` gives them."""


def layout(shapes: Shapes) -> str:
    """``shapes`` as the text that is the option ``weights`` of a rule: ``w1=9x32 b1=32`` and so on."""
    return " ".join(f"{name}={'x'.join(map(str, shape))}" for name, shape in shapes.items())


def parse_layout(text: str, rule: str) -> dict[str, tuple[int, ...]]:
    """The shapes that ``layout`` wrote. Raises ValueError, naming the ``rule``, for anything else."""
    found = [re.fullmatch(r"([wgb][1-9]\d*)=([1-9]\d*(?:x[1-9]\d*)*)", part) for part in text.split()]
    shapes = {match[1]: tuple(map(int, match[2].split("x"))) for match in found if match}
    if not shapes or len(shapes) != len(found):
        raise ValueError(f"got weights {text[:60]!r} for the {rule} rule, expected shapes such as 'w1=9x32 b1=32'")
    return shapes


def last_layer(shapes: Shapes) -> int:
    """The number of the last layer, and of layers."""
    return max(int(name[1:]) for name in shapes)


def normalising(shapes: Shapes) -> list[str]:
    """The names, in their order, of what scales and shifts layers after normalisation: all but the last layer's."""
    last = last_layer(shapes)
    return [name for name in shapes if name[0] in "gb" and int(name[1:]) < last]


def initial_weights(shapes: Shapes, generator: torch.Generator) -> State:
    """Random weights: normal with deviation 1 / sqrt(fan-in), scales 1, biases 0; drawn in the order of ``shapes``."""
    weights: State = {}
    for name, shape in shapes.items():
        if name.startswith("w"):
            weights[name] = torch.randn(shape, generator=generator) / shape[0] ** 0.5
        else:
            weights[name] = torch.ones(shape) if name.startswith("g") else torch.zeros(shape)
    return weights


class LearnedStart(Rule):
    """A rule whose θ holds the weights that every task starts from, of the shapes that ``weights`` states.

    A network whose last layer has fewer units takes the first ones, as Hsu et al. (2019) do for fewer ways.
    """

    layers = frozenset({"dense", "convolutional"})
    equivariant = frozenset({"examples"})
    one_network = True
    whole_trajectories = True
    compiles = False
    fixed: Collection[str] = ()
    """Names of weights that stay as they start."""

    def __init__(self, weights: str, seed: int) -> None:
        super().__init__()
        self.shapes = parse_layout(weights, self.name)
        drawn = initial_weights(self.shapes, torch.Generator().manual_seed(seed))
        self.start = nn.ParameterDict()
        for name, value in drawn.items():  # one by one, which keeps their order
            self.start[name] = nn.Parameter(value)

    @classmethod
    def options_for(cls, problem: Problem, seed: int) -> dict[str, Any]:
        """``seed``, and the shapes of the network of ``problem``."""
        return super().options_for(problem, seed) | {"weights": layout(problem.network.shapes)}

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """No change yet: zeros of the shapes of what moves, and ``t`` = 0. Raises as ``check_shapes``."""
        self.check_shapes(problem.network)
        moves = {name: shape for name, shape in problem.network.shapes.items() if name not in self.fixed}
        return {"t": torch.zeros(()), **{name: torch.zeros(shape) for name, shape in moves.items()}}

    def check_shapes(self, network: Network) -> None:
        """Raise ValueError for a network of other shapes than the start, but for fewer units in its last layer."""
        have, want = self.shapes, network.shapes
        last = last_layer(have)
        fits = have.keys() == want.keys() and all(
            have[name] == shape
            or (int(name[1:]) == last and have[name][:-1] == shape[:-1] and have[name][-1] >= shape[-1])
            for name, shape in want.items()
        )
        if not fits:
            raise ValueError(
                f"rule {self.name} starts from weights {layout(have)}, got a base network of {layout(want)}; take the "
                "network, image size and ways that it was trained with, or fewer ways"
            )

    def started(self, network: Network, state: State) -> State:
        """The weights that ``network`` starts from, a part of θ, as they are at the step of ``state``."""
        return {name: self.start[name][tuple(map(slice, shape))] for name, shape in network.shapes.items()}

    def weights(self, network: Network, state: State) -> State:
        """The weights of ``network`` in ``state``: the start and how far it has moved since."""
        started = self.started(network, state)
        return {name: start + state[name] if name in state else start for name, start in started.items()}

    def output(self, activations: Activations) -> Tensor:
        """What of a forward pass is read out: the last layer's activations [B, N_L]."""
        return activations.x[-1]

    def _read(self, state: State, activations: Activations) -> Tensor:
        """The ``output`` of a network that is trained, or the activations of an ``embedder``, whose State has no t."""
        return self.output(activations) if "t" in state else activations.x[-1]

    def statistics(self, problem: Problem, state: State, x: Tensor) -> Statistics:
        """Means and variances of the network's layers on ``x`` [B, D]."""
        return super().statistics(problem, self.weights(problem.network, state), x)

    def features(self, problem: Problem, state: State, x: Tensor, statistics: Statistics | None = None) -> Tensor:
        """The network's output [B, N_L] for ``x`` [B, D], normalised as ``Rule.features`` says."""
        return self._read(state, problem.network.forward(self.weights(problem.network, state), x, statistics))

    def features_by(self, problem: Problem, state: State, on: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same with the weights made once, and ``on`` passed once."""
        weights = self.weights(problem.network, state)
        batch = problem.network.forward(weights, on)
        others = problem.network.forward(weights, x, batch.statistics())
        return self._read(state, batch), self._read(state, others)

    def embedder(self, problem: Problem) -> tuple[Problem, State]:
        """The start of the network below its head, if it has one. Raises ValueError for a network of other shapes."""
        have, network = self.shapes, problem.network
        if self.gives == "logits":  # as many as were trained, since a network of one layer is its head
            network = network.with_outputs(next(reversed(have.values()))[-1]).encoder()
        if any(have.get(name) != shape for name, shape in network.shapes.items()):
            raise ValueError(
                f"rule {self.name} starts from weights {layout(have)}, got data for {layout(network.shapes)}; take "
                "images of the size and colours that it was trained with"
            )
        return replace(problem, network=network), {n: torch.zeros(shape) for n, shape in network.shapes.items()}

    def pictures(self, problem: Problem, state: State) -> Tensor | None:
        """The first layer's weights [N_1, D] where there is one for each input."""
        return super().pictures(problem, self.weights(problem.network, state))
