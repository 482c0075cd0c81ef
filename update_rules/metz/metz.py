"""The learned update rule of Metz, Maheswaranathan, Cheung and Sohl-Dickstein (ICLR 2019, arXiv 1804.00222).

Shapes: B examples, D inputs, N_l units of layer l = 0..L (0 is the input), C delta channels, H hidden channels.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from update_rules.contract import Activations, Network, Problem, Rule, State, StepViews
from update_rules.metz.batched import batched_changes
from update_rules.metz.change import TERMS, WeightChange, bias_change
from update_rules.metz.layers import Linear, truncated_normal
from update_rules.metz.neurons import NeuronState, TopSignal, weight_statistics


class NeuronStates(NamedTuple):
    """What the backward sweep leaves at every layer, the input first."""

    h: list[Tensor]  # neuron states [B, N_l, H]
    error: list[Tensor]  # error signals [B, N_l, C], after normalisation


class Metz(Rule):
    """The original rule. Its ``outputs`` are fixed: the top signal has weights between output units.

    ``hidden`` and ``h_layers`` size the network of the neuron states, ``top_hidden`` and ``top_layers`` that of the
    top signal. With ``identical_updates`` the backward weights receive the change of the forward weights; otherwise
    their own, with θ of its own. θ is drawn from ``seed`` alone. Raises ValueError for a size below 1.
    """

    def __init__(
        self,
        outputs: int = 32,
        hidden: int = 64,
        h_layers: int = 1,
        top_hidden: int = 64,
        top_layers: int = 2,
        delta_channels: int = 32,
        readout_channels: int = 4,
        identical_updates: bool = True,
        learning_rate: float = 1e-4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        least = dict.fromkeys(("outputs", "hidden", "top_hidden", "delta_channels", "readout_channels"), 1)
        for key, value in (least | {"h_layers": 0, "top_layers": 0}).items():
            if int(self.config[key]) < value:
                raise ValueError(f"got {key} {self.config[key]} for the metz rule, expected {value} or more")
        self.units, self.learning_rate = outputs, learning_rate
        generator = torch.Generator().manual_seed(seed)
        self.top_signal = TopSignal(outputs, top_hidden, top_layers, delta_channels, generator)
        self.neuron_state = NeuronState(hidden, h_layers, delta_channels, generator)
        self.error_readout = Linear(hidden, delta_channels, generator)
        self.forward_change = WeightChange(hidden, readout_channels, generator)
        self.backward_change = None if identical_updates else WeightChange(hidden, readout_channels, generator)
        self.bias_readout = Linear(hidden, 1, generator)

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """Weights of std 0.01 and biases of std 0.1, truncated normal. Raises ValueError for another output size."""
        network = problem.network
        self._check(network)
        state: State = {}
        for layer, shape in enumerate(pairwise(network.sizes), start=1):
            state[f"w{layer}"] = truncated_normal(shape, 0.01, generator)
            state[f"v{layer}"] = truncated_normal(shape, 0.01, generator)
            state[f"b{layer}"] = truncated_normal(shape[1:], 0.1, generator)
        return state

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """p ← p (1 − lr) − lr · change for all weights and biases, on ``views["unlabelled"]`` [B, D]."""
        self._check(problem.network)
        activations = problem.network.forward(state, views["unlabelled"])
        return self._moved(state, self.changes(state, activations, self.neuron_states(state, activations)))

    def batched_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The same for T tasks at once, faster."""
        self._check(problem.network)
        return self._moved(state, batched_changes(self, state, problem.network.forward(state, views["unlabelled"])))

    def _moved(self, state: State, change: State) -> State:
        rate = self.learning_rate
        return {key: value * (1 - rate) - rate * change[key] for key, value in state.items()}

    def neuron_states(self, state: State, activations: Activations) -> NeuronStates:
        """The sweep from the top layer to the input: each layer's states, then the error signal of the layer below."""
        x, z = activations.x, activations.z
        top = len(x) - 1
        error = self.top_signal(x[top])
        states, errors = [], [error]
        for layer in range(top, -1, -1):
            statistics = weight_statistics(state.get(f"w{layer}"), state.get(f"w{layer + 1}"))
            bias = state[f"b{layer}"] if layer else x[0].new_zeros(x[0].shape[1])
            states.append(self.neuron_state(x[layer], z[layer], error, statistics, bias))
            if layer:
                local = error * torch.sigmoid(z[layer])[..., None] + self.error_readout(states[-1])
                below = state[f"v{layer}"] @ local  # [N_{l-1}, N_l] @ [B, N_l, C]
                error = below * torch.rsqrt(1e-6 + (below * below).mean(-1, keepdim=True))
                errors.append(error)
        return NeuronStates(states[::-1], errors[::-1])

    def changes(self, state: State, activations: Activations, neurons: NeuronStates) -> State:
        """The change of every entry of ``state``, with its keys and shapes."""
        x, h = activations.x, neurons.h
        change: State = {}
        for layer in range(1, len(x)):
            sides = (x[layer - 1], h[layer - 1], x[layer], h[layer])
            own = self.backward_change
            change[f"w{layer}"] = self.forward_change(state[f"w{layer}"], *sides)
            change[f"v{layer}"] = change[f"w{layer}"] if own is None else own(state[f"v{layer}"], *sides)
            change[f"b{layer}"] = bias_change(self.bias_readout, h[layer].mean(0))
        return change

    def describe(self) -> dict[str, float]:
        """The mixing weight of every term."""
        mix = self.forward_change.mix.detach()
        return {f"mix/{name}": float(weight) for name, weight in zip(TERMS, mix, strict=True)}

    def _check(self, network: Network) -> None:
        if network.sizes[-1] != self.units:
            raise ValueError(
                f"got a network with {network.sizes[-1]} outputs, expected the {self.units} outputs that this metz "
                "rule was built for: set the network's last size or the rule's outputs"
            )
