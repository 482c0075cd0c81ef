"""What rules share whose θ is the start of a base network.

A State holds how far each weight has moved from the start, at first 0, so that the weights are θ + State. The
meta-gradient reaches the start that way although the State at the beginning of an unroll is cut off from any graph.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from update_rules.contract import Activations, Network, Rule, State

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

    A network whose last layer has fewer units than the start takes the first ones, as Hsu et al. (2019) do for tasks
    of fewer ways than in training.
    """

    networks = ("mlp", "conv4")

    def __init__(self, weights: str, seed: int) -> None:
        super().__init__()
        shapes = parse_layout(weights, self.name)
        drawn = initial_weights(shapes, torch.Generator().manual_seed(seed))
        self.start = nn.ParameterDict()
        for name, value in drawn.items():  # one by one, which keeps their order
            self.start[name] = nn.Parameter(value)

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """No change yet, whatever the ``generator``: zeros of the network's shapes, and ``t`` = 0.

        Raises ValueError for a network of other shapes than the start, but for fewer units in its last layer.
        """
        self.check_shapes(network)
        return {"t": torch.zeros(()), **{name: torch.zeros(shape) for name, shape in network.shapes.items()}}

    def check_shapes(self, network: Network) -> None:
        """Raise ValueError for a network of other shapes than the start, but for fewer units in its last layer."""
        have, want = {name: tuple(value.shape) for name, value in self.start.items()}, network.shapes
        last = max(int(name[1:]) for name in have)
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

    def started(self, network: Network) -> State:
        """The weights that ``network`` starts from, a part of θ."""
        return {
            name: self.start[name][tuple(slice(units) for units in shape)] for name, shape in network.shapes.items()
        }

    def weights(self, network: Network, state: State) -> State:
        """The weights of ``network`` in ``state``: the start and how far it has moved since."""
        return {name: start + state[name] for name, start in self.started(network).items()}

    def output(self, activations: Activations) -> Tensor:
        """What of a forward pass is read out: the last layer's activations [B, N_L]."""
        return activations.x[-1]

    def features(self, network: Network, state: State, x: Tensor, frozen_on: Tensor | None = None) -> Tensor:
        """The network's output [B, N_L] for ``x`` [B, D], normalised as ``Rule.features`` says."""
        weights = self.weights(network, state)
        statistics = None if frozen_on is None else network.statistics(weights, frozen_on)
        return self.output(network.forward(weights, x, statistics))
