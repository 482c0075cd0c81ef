"""The default rule: a small network in every neuron, which sees nothing but that neuron.

A neuron sees its pre- and post-activation, its error channels, its bias, statistics of its own weights, and averages of
its own history over the batch. There are no unit ids and no mixing over neighbouring units or examples, so the rule
commutes with permutations of units, inputs and examples, and fits any width, depth, activation and output size. The
weight change is made of the twelve terms of Metz et al. (2019), appendix D, and acts on weights whose columns are kept
at unit rms.

Layout: channels first, [channels, B, N]. Every linear map of the neurons and every outer product over examples is then
one matrix product on memory as it lies.
"""

import math

import torch
from torch import Tensor, nn

from update_rules.contract import Activations, Network, Rule, State, Views
from update_rules.local_terms import EPS, bounded_columns, standardised, turn, unit_rms_columns, unit_rms_state

UNIT_STATISTICS = 7
"""Incoming mean |w| and mean w; outgoing mean |w|, rms and mean w; batch mean and standard deviation of x."""

TERMS = (
    "w_base",
    "large_decay",
    "decorrelate",
    "hebb",
    "order_0",
    "rbf",
    "order_1",
    "linear_upper",
    "linear_upper_psd",
    "linear_lower",
    "square_upper",
    "square_lower",
)

UPPER_READOUTS = (
    "order_0",
    "rbf",
    "order_1",
    "linear_upper_a",
    "linear_upper_b",
    "psd",
    "square_upper_a",
    "square_upper_b",
)
LOWER_READOUTS = ("order_0", "rbf", "order_1", "linear_lower_a", "linear_lower_b", "square_lower_a", "square_lower_b")


def symmetric(u: Tensor) -> Tensor:
    """(u + uᵀ)/√2 with a zero diagonal, over sqrt(N): ``u`` [N, N]."""
    n = u.shape[-1]
    off_diagonal = 1 - torch.eye(n, dtype=u.dtype, device=u.device)
    return (u + u.mT) * off_diagonal / math.sqrt(2 * n)


def channel_map(weights: Tensor, x: Tensor) -> Tensor:
    """``weights`` [R, H] applied to the channels of ``x`` [H, B, N]: [R, B, N]."""
    # As an einsum: under vmap, `weights @ x` would copy x to fold the tasks into one product (3 to 4 times slower).
    return torch.einsum("rh,hn->rn", weights, x.flatten(1)).unflatten(1, x.shape[1:])


class NeuronMLP(nn.Module):
    """Two layers inside each neuron: [F, B, N] per example and [S, N] per unit in, [H, B, N] out.

    The first layer's output, averaged over the batch, is a second input of the next: a neuron's own history.
    """

    def __init__(self, per_example: int, per_unit: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.example = nn.Parameter(_scaled_normal((hidden, per_example), generator))
        self.unit = nn.Parameter(_scaled_normal((hidden, per_unit + 1), generator))
        self.mix = nn.Parameter(_scaled_normal((hidden, hidden), generator))
        self.pooled = nn.Parameter(_scaled_normal((hidden, hidden), generator))
        self.offset = nn.Parameter(torch.zeros(hidden))

    def forward(self, per_example: Tensor, per_unit: Tensor) -> Tensor:
        """The neuron states [H, B, N] for ``per_example`` [F, B, N] and ``per_unit`` [S, N]."""
        constant = per_unit.new_ones(1, per_unit.shape[1])
        unit = self.unit @ torch.cat([per_unit, constant])
        first = torch.relu(channel_map(self.example, per_example) + unit[:, None, :])
        history = self.pooled @ first.mean(1) + self.offset[:, None]
        return torch.relu(channel_map(self.mix, first) + history[:, None, :])


def _scaled_normal(shape: tuple[int, int], generator: torch.Generator, gain: float = 1.0) -> Tensor:
    """Normal numbers with standard deviation gain / sqrt(fan-in)."""
    return torch.randn(shape, generator=generator) * (gain / math.sqrt(shape[1]))


class NeuronLocal(Rule):
    """The learned neuron-local rule. Equivariant to units, inputs and examples; any network of dense layers.

    ``hidden`` is the width H of a neuron's own network, ``error_channels`` C the channels that the backward weights
    carry down, ``readout_channels`` the rank per example of each learned outer product, ``rate`` the starting value of
    the learned inner rate (a share of a weight column's rms per step).
    """

    name = "neuron_local"
    equivariant = frozenset({"units", "inputs", "examples"})

    def __init__(
        self,
        hidden: int = 16,
        error_channels: int = 4,
        readout_channels: int = 2,
        rate: float = 0.03,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config = {
            "hidden": hidden,
            "error_channels": error_channels,
            "readout_channels": readout_channels,
            "rate": rate,
            "seed": seed,
        }
        generator = torch.Generator().manual_seed(seed)
        self.error_channels, self.readout_channels = error_channels, readout_channels
        per_unit = UNIT_STATISTICS + 1
        self.top = NeuronMLP(2, per_unit, hidden, generator)
        self.top_error = nn.Parameter(_scaled_normal((error_channels, hidden), generator))
        self.neuron = NeuronMLP(2 + error_channels, per_unit, hidden, generator)
        self.error = nn.Parameter(_scaled_normal((error_channels, hidden), generator))
        upper, lower = len(UPPER_READOUTS) * readout_channels, len(LOWER_READOUTS) * readout_channels
        self.upper = nn.Parameter(_scaled_normal((upper, hidden), generator))
        self.lower = nn.Parameter(_scaled_normal((lower, hidden), generator))
        self.upper_offset = nn.Parameter(torch.zeros(upper))
        self.lower_offset = nn.Parameter(torch.zeros(lower))
        self.bias = nn.Parameter(_scaled_normal((1, hidden), generator))
        self.mixing = nn.Parameter(torch.full((len(TERMS),), 0.1))
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate)))

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """Normal forward and backward weights with unit-rms columns, biases normal with deviation 0.1."""
        return unit_rms_state(network, generator)

    def step(self, network: Network, state: State, views: Views) -> State:
        """One inner step on ``views["unlabelled"]`` [B, D]."""
        depth = len(network.sizes) - 1
        activations = network.forward(state, views["unlabelled"])
        hidden = self._neuron_states(activations, state, depth)
        rate = self.log_rate.exp()
        new: State = {}
        centred = [standardised(x) for x in activations.x]
        for layer in range(1, depth + 1):
            w = state[f"w{layer}"]
            change = self._weight_change(w, hidden[layer - 1], hidden[layer], centred[layer - 1], centred[layer])
            new[f"w{layer}"] = unit_rms_columns(w - rate * change)
            new[f"v{layer}"] = unit_rms_columns(state[f"v{layer}"] - rate * change)
            push = torch.tanh(self.bias @ hidden[layer].mean(1))[0]
            new[f"b{layer}"] = state[f"b{layer}"] * (1 - rate) - rate * push
        return new

    def _unit_statistics(self, activations: Activations, state: State, layer: int, depth: int) -> Tensor:
        """Per-unit inputs of a neuron, [UNIT_STATISTICS + 1, N]: weight and activity statistics, and the bias."""
        x = activations.x[layer]
        zero = x.new_zeros(x.shape[1])
        mean, deviation = x.mean(0), torch.sqrt(x.var(0, correction=0) + EPS)
        incoming, outgoing, bias = [zero, zero], [zero, zero, zero], zero
        if layer > 0:
            w = state[f"w{layer}"]
            incoming, bias = [w.abs().mean(0), w.mean(0)], state[f"b{layer}"]
        if layer < depth:
            w = state[f"w{layer + 1}"]
            outgoing = [w.abs().mean(1), torch.sqrt((w * w).mean(1) + EPS), w.mean(1)]
        return torch.stack([*incoming, *outgoing, mean, deviation, bias])

    def _neuron_states(self, activations: Activations, state: State, depth: int) -> list[Tensor]:
        """The neuron states [H, B, N_l] of every layer, from the top layer down to the input."""
        states: list[Tensor] = []
        error = activations.x[-1]
        for layer in range(depth, -1, -1):
            x = activations.x[layer]
            z = activations.z[layer] if layer > 0 else standardised(x)
            unit = self._unit_statistics(activations, state, layer, depth)
            if layer == depth:
                top = self.top(torch.stack([x, z]), unit)
                error = channel_map(self.top_error, top)
            error = error * torch.rsqrt((error * error).mean(0) + EPS)
            h = self.neuron(torch.cat([torch.stack([x, z]), error]), unit)
            states.append(h)
            if layer > 0:
                local = error * torch.sigmoid(z) + channel_map(self.error, h)
                error = (local.flatten(0, 1) @ state[f"v{layer}"].mT).unflatten(0, local.shape[:2])
        return states[::-1]

    def _weight_change(self, w: Tensor, low: Tensor, up: Tensor, v: Tensor, u: Tensor) -> Tensor:
        """The change of ``w`` [N_low, N_up] from the neuron states and standardised activations on both sides."""
        terms = self._terms(w, low, up, v, u)
        change = torch.tensordot(self.mixing, bounded_columns(torch.stack(terms)), dims=1)
        return bounded_columns(turn(w, change))

    def _terms(self, w: Tensor, low: Tensor, up: Tensor, v: Tensor, u: Tensor) -> list[Tensor]:
        """The twelve terms of the change of ``w`` [N_low, N_up], in the order of TERMS."""
        channels = self.readout_channels
        (_, b, n_low), n_up = low.shape, up.shape[2]
        top = (channel_map(self.upper, up) + self.upper_offset[:, None, None]).view(-1, channels * b, n_up)
        bottom = (channel_map(self.lower, low) + self.lower_offset[:, None, None]).view(-1, channels * b, n_low)
        upper = dict(zip(UPPER_READOUTS, top.unbind(0), strict=True))
        lower = dict(zip(LOWER_READOUTS, bottom.unbind(0), strict=True))
        scale = 1 / (channels * b)
        magnitude = torch.sqrt(1 + w * w) - 1
        sign = torch.sign(w)
        decorrelation = w @ (u.mT @ u) / (b * math.sqrt(n_up))

        def outer(a: Tensor, c: Tensor) -> Tensor:
            return a.mT @ c * scale

        return [
            w,
            w * w * sign,
            decorrelation * torch.rsqrt((decorrelation * decorrelation).mean(0) + EPS),
            -(v.mT @ u) / b,
            outer(lower["order_0"], upper["order_0"]),
            torch.exp(-w * w) * outer(lower["rbf"], upper["rbf"]),
            w * outer(lower["order_1"], upper["order_1"]),
            w @ symmetric(outer(upper["linear_upper_a"], upper["linear_upper_b"])),
            w @ outer(upper["psd"], upper["psd"]) / math.sqrt(n_up),
            symmetric(outer(lower["linear_lower_a"], lower["linear_lower_b"])) @ w,
            magnitude @ symmetric(outer(upper["square_upper_a"], upper["square_upper_b"])) * sign,
            symmetric(outer(lower["square_lower_a"], lower["square_lower_b"])) @ magnitude * sign,
        ]

    def describe(self) -> dict[str, float]:
        """The learned rate and the mixing weight of every term."""
        weights = {f"mixing/{name}": float(value) for name, value in zip(TERMS, self.mixing.detach(), strict=True)}
        return {"rate": float(self.log_rate.detach().exp()), **weights}
