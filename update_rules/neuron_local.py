"""The default rule: a small network in every neuron, which sees nothing but that neuron.

A neuron sees its pre- and post-activation, its error channels, its bias, statistics of its own weights, and averages of
its own history over the batch. There are no unit ids and no mixing over neighbouring units or examples, so the rule
commutes with permutations of units, inputs and examples, and fits any width, depth, activation and output size. The
weight change is made of the terms of Metz et al. (2019), appendix D, all but w itself, which could only stretch weights
whose columns are kept at unit rms.

Layout: channels first, [channels, B, N]. Every linear map of the neurons and every outer product over examples is then
one matrix product on memory as it lies.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from update_rules.contract import Activations, Network, Rule, State, Views
from update_rules.local_terms import EPS, bounded_columns, standardised, turn, unit_rms_columns, unit_rms_state

UNIT_INPUTS = 9
"""Incoming mean |w| and mean w; outgoing mean |w|, rms and mean w; batch mean and deviation of x; bias; a constant."""

TERMS = {
    "large_decay": 0.0,
    "decorrelate": 1.0,
    "hebb": 0.0,
    "order_0": 1.0,
    "rbf": 0.0,
    "order_1": 0.0,
    "linear_upper": 0.0,
    "linear_upper_psd": 0.0,
    "linear_lower": 0.0,
    "square_upper": 0.0,
    "square_lower": 0.0,
}
"""The terms of a weight change, each with the mixing weight it starts from: Hebbian growth against decorrelation."""

QUICK = 10.0
"""Adam moves every number by about the same amount; those stored divided by this move so many times faster."""

UPPER = ("order_0", "rbf", "order_1", "linear_upper_a", "linear_upper_b", "psd", "square_upper_a", "square_upper_b")
LOWER = ("order_0", "rbf", "order_1", "linear_lower_a", "linear_lower_b", "square_lower_a", "square_lower_b")
"""Readouts that a neuron gives to the weights below it (as their upper side) and above it (as their lower side)."""


def symmetric(u: Tensor) -> Tensor:
    """(u + uᵀ)/√2 with a zero diagonal, over sqrt(N): ``u`` [N, N]."""
    n = u.shape[-1]
    off_diagonal = 1 - torch.eye(n, dtype=u.dtype, device=u.device)
    return (u + u.mT) * off_diagonal / math.sqrt(2 * n)


def channel_map(weights: Tensor, x: Tensor) -> Tensor:
    """``weights`` [R, H] applied to the channels of ``x`` [H, B, N]: [R, B, N]."""
    # As an einsum: under vmap, `weights @ x` would copy x to fold the tasks into one product (3 to 4 times slower).
    return torch.einsum("rh,hn->rn", weights, x.flatten(1)).unflatten(1, x.shape[1:])


def _scaled_normal(rows: int, columns: int, generator: torch.Generator) -> nn.Parameter:
    """Normal numbers with standard deviation 1 / sqrt(columns), the fan-in."""
    return nn.Parameter(torch.randn(rows, columns, generator=generator) / math.sqrt(columns))


class NeuronMLP(nn.Module):
    """Two layers inside each neuron: [F, B, N] per example and [UNIT_INPUTS, N] per unit in, [H, B, N] out.

    The first layer's output, averaged over the batch, is a second input of the next: a neuron's own history.
    """

    def __init__(self, per_example: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.example = _scaled_normal(hidden, per_example, generator)
        self.unit = _scaled_normal(hidden, UNIT_INPUTS, generator)
        self.mix = _scaled_normal(hidden, hidden, generator)
        self.pooled = _scaled_normal(hidden, hidden, generator)
        self.offset = nn.Parameter(torch.zeros(hidden))

    def forward(self, per_example: Tensor, per_unit: Tensor) -> Tensor:
        """The neuron states [H, B, N] for ``per_example`` [F, B, N] and ``per_unit`` [UNIT_INPUTS, N]."""
        first = torch.relu(channel_map(self.example, per_example) + (self.unit @ per_unit)[:, None, :])
        history = self.pooled @ first.mean(1) + self.offset[:, None]
        return torch.relu(channel_map(self.mix, first) + history[:, None, :])


class NeuronLocal(Rule):
    """The learned neuron-local rule. Equivariant to units, inputs and examples; any network of dense layers.

    ``hidden`` is the width H of a neuron's own network, ``error_channels`` C the channels that the backward weights
    carry down, ``readout_channels`` the rank per example of each learned outer product, ``rate`` the starting value of
    the learned inner rate (a share of a weight column's rms per step), ``seed`` decides the starting weights.
    """

    name = "neuron_local"
    equivariant = frozenset({"units", "inputs", "examples"})

    def __init__(
        self,
        hidden: int = 16,
        error_channels: int = 4,
        readout_channels: int = 2,
        rate: float = 0.1,
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
        # The error is scaled to unit rms over its channels: a single one would be left with nothing but its sign.
        for key, least in (("hidden", 1), ("error_channels", 2), ("readout_channels", 1)):
            if int(self.config[key]) < least:
                raise ValueError(f"got {key} {self.config[key]} for the neuron_local rule, expected {least} or more")
        if not 0 < rate < 1:
            raise ValueError(f"got rate {rate} for the neuron_local rule, expected a number between 0 and 1")
        generator = torch.Generator().manual_seed(seed)
        self.error_channels, self.readout_channels = error_channels, readout_channels
        inputs = 2 + error_channels
        self.top = NeuronMLP(2, hidden, generator)
        self.top_error = _scaled_normal(error_channels, hidden, generator)
        self.neuron = NeuronMLP(inputs, hidden, generator)
        # Rows: what the weights below read, the bias change, the error sent down, what the weights above read.
        self.rows_below = len(UPPER) * readout_channels
        rows = self.rows_below + 1 + error_channels + len(LOWER) * readout_channels
        self.from_hidden = _scaled_normal(rows, hidden, generator)
        self.from_inputs = _scaled_normal(rows, inputs, generator)
        self.offset = nn.Parameter(torch.zeros(rows))
        self.mixing = nn.Parameter(torch.tensor(list(TERMS.values())) / QUICK)
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate) / QUICK))
        self._start_hebbian()

    @torch.no_grad()
    def _start_hebbian(self) -> None:
        """Let ``order_0`` start as ⟨z_low x_up⟩ and ⟨z_low z_up⟩ and the biases at rest: Hebb's rule."""
        x, z = 0, 1
        push = self.rows_below
        above = push + 1 + self.error_channels
        self.from_hidden[push] = 0.0
        self.from_inputs[push] = 0.0
        for channel in range(self.readout_channels):
            for row, seen in ((channel, x if channel == 0 else z), (above + channel, z)):
                self.from_hidden[row] = 0.0
                self.from_inputs[row] = 0.0
                self.from_inputs[row, seen] = 1.0

    @property
    def rate(self) -> Tensor:
        """The learned inner rate."""
        return (QUICK * self.log_rate).exp()

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """Normal forward and backward weights with unit-rms columns, biases normal with deviation 0.1."""
        return unit_rms_state(network, generator)

    def step(self, network: Network, state: State, views: Views) -> State:
        """One inner step on ``views["unlabelled"]`` [B, D]."""
        depth = len(network.sizes) - 1
        activations = network.forward(state, views["unlabelled"])
        centred = [standardised(x) for x in activations.x]
        rate = self.rate
        new: State = {}
        error: Tensor | None = None
        upper: Tensor | None = None
        for layer in range(depth, -1, -1):
            x = activations.x[layer]
            z = activations.z[layer] if layer > 0 else centred[0]
            unit = self._unit_inputs(activations, state, layer, depth)
            seen = torch.stack([x, z])
            if error is None:
                error = channel_map(self.top_error, self.top(seen, unit))
            error = error * torch.rsqrt((error * error).mean(0) + EPS)
            seen = torch.cat([seen, error])
            given, push, sent, lower = self._readouts(
                seen, self.neuron(seen, unit), first=layer == 0, last=upper is None
            )
            if upper is not None:
                w = state[f"w{layer + 1}"]
                change = self._weight_change(w, lower, upper, centred[layer], centred[layer + 1])
                new[f"w{layer + 1}"] = unit_rms_columns(w + rate * change)
                new[f"v{layer + 1}"] = unit_rms_columns(state[f"v{layer + 1}"] + rate * change)
            if layer > 0:
                b = state[f"b{layer}"]
                new[f"b{layer}"] = b * (1 - rate) + rate * torch.tanh(push.mean(1))[0]
                local = error * torch.sigmoid(z) + sent
                error = (local.flatten(0, 1) @ state[f"v{layer}"].mT).unflatten(0, local.shape[:2])
                upper = given
        return new

    def _unit_inputs(self, activations: Activations, state: State, layer: int, depth: int) -> Tensor:
        """Per-unit inputs of a neuron, [UNIT_INPUTS, N]; statistics of weights that do not exist are 0."""
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
        return torch.stack([*incoming, *outgoing, mean, deviation, bias, torch.ones_like(zero)])

    def _readouts(self, seen: Tensor, hidden: Tensor, *, first: bool, last: bool) -> tuple[Tensor, ...]:
        """What neurons give: to the weights below, to the bias, as error, to the weights above; [rows, B, N] each.

        The input layer has nothing below and the ``last`` layer nothing above, so those rows are left out.
        """
        sizes = [self.rows_below, 1, self.error_channels, len(LOWER) * self.readout_channels]
        start, end = (sum(sizes[:3]) if first else 0), (sum(sizes[:3]) if last else sum(sizes))
        rows = slice(start, end)
        read = (
            channel_map(self.from_hidden[rows], hidden)
            + channel_map(self.from_inputs[rows], seen)
            + self.offset[rows, None, None]
        )
        kept = [0, 0, 0, sizes[3]] if first else [*sizes[:3], 0] if last else sizes
        return read.split(kept)

    def _weight_change(self, w: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor) -> Tensor:
        """The change of ``w`` [N_low, N_up] from the readouts and standardised activations on both sides."""
        terms = self._terms(w, self._by_name(LOWER, lower), self._by_name(UPPER, upper), v, u)
        change = torch.tensordot(QUICK * self.mixing, bounded_columns(torch.stack(terms)), dims=1)
        return bounded_columns(turn(w, change))

    def _by_name(self, names: tuple[str, ...], readouts: Tensor) -> Mapping[str, Tensor]:
        """``readouts`` [names · channels, B, N] as one matrix [channels · B, N] for each name."""
        return dict(zip(names, readouts.reshape(len(names), -1, readouts.shape[-1]).unbind(0), strict=True))

    def _terms(
        self, w: Tensor, lower: Mapping[str, Tensor], upper: Mapping[str, Tensor], v: Tensor, u: Tensor
    ) -> list[Tensor]:
        """The terms of the change of ``w`` [N_low, N_up], in the order of TERMS."""
        b, n_up = u.shape
        scale = 1 / (self.readout_channels * b)
        magnitude = torch.sqrt(1 + w * w) - 1
        sign = torch.sign(w)

        def outer(a: Tensor, c: Tensor) -> Tensor:
            return a.mT @ c * scale

        return [
            -w * w * sign,
            w @ (u.mT @ u) / (-b * math.sqrt(n_up)),
            v.mT @ u / b,
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
        mixing = (QUICK * self.mixing.detach()).tolist()
        weights = {f"mixing/{name}": value for name, value in zip(TERMS, mixing, strict=True)}
        return {"rate": float(self.rate.detach()), **weights}
