"""The default rule: a small network in every neuron, which sees nothing but that neuron.

A neuron sees its pre- and post-activation, its error channels, its bias, statistics of its own weights, averages of its
own history over the batch, and what its whole layer shares: inner time, relative depth and, for each example, how
strongly the layer responds altogether (lateral inhibition: a neuron can tell whether it leads). There are no unit ids
and no mixing over neighbouring units or examples, so the rule commutes with permutations of units, inputs and examples,
and fits any width, depth, activation and output size. The weight change is made of the terms of Metz et al. (2019),
appendix D, all but w itself, which could only stretch weights of unit rms. Layout: as in ``neuron_network``.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from update_rules.contract import Activations, Problem, Rule, State, StepViews
from update_rules.local.local_terms import EPS, POWER, LocalRule, Spread, skewness, spread, unit_rms_columns, without
from update_rules.local.neuron_block import SeenByNeurons
from update_rules.local.neuron_change import TERMS, batched_change, weight_change
from update_rules.local.neuron_network import NeuronMLP, channel_map, scaled_normal
from update_rules.local.weight_terms import LOWER, UPPER

CONTEXT = ("time", "depth", "top")
"""What the neurons of a layer share: how long they have learned, where the layer is, and whether it is the last."""

MIDDLE = 3.5
"""log(1 + inner steps) in the middle of inner time: some thirty steps."""

OWN = ("levels", "z", "lead", "share")
"""What a neuron sees of itself in each example: its activation (centred, over the deviation of the whole layer), its
pre-activation (of an input, the standardised activation), how far it leads its layer, and its share of the layer's
response, over SHARE. Inputs do not compete: they see 0 for both of the latter."""

SHARE = 4.0
"""Shares of mean 1 reach the size of the layer; over this they suit a network."""

REACH = 3.0
"""The largest bias: with it a relu is linear in nearly all examples."""

QUICK = 10.0
"""Adam moves every number by about the same amount; those stored divided by this move so many times faster."""


class NeuronLocal(LocalRule):
    """The learned neuron-local rule. Equivariant to units, inputs and examples; any network of dense layers.

    ``hidden`` is the width H of a neuron's own network, ``error_channels`` C the channels that the backward weights
    carry down, ``readout_channels`` the rank per example of each learned outer product, ``rate`` the starting value of
    the learned inner rate (a share of a weight column's rms per step) in the middle of inner time, ``straighten`` that
    of how strongly biases move to where the activation adds no skewness (0 where units compete, as under ``winners``),
    ``seed`` decides the starting weights. The rate and the mixing weights of the terms depend on the context of a
    layer. The rate starts as a power POWER of 1 + t: at high rates late in training, the dynamics of many networks are
    chaotic, and a meta-gradient through them says nothing.
    """

    name = "neuron_local"
    theta_per_task = True

    def __init__(
        self,
        hidden: int = 16,
        error_channels: int = 4,
        readout_channels: int = 2,
        rate: float = 0.1,
        straighten: float = 0.7,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # The error is scaled to unit rms over its channels: a single one would be left with nothing but its sign.
        for key, least in (("hidden", 1), ("error_channels", 2), ("readout_channels", 1)):
            if int(self.config[key]) < least:
                raise ValueError(f"got {key} {self.config[key]} for the neuron_local rule, expected {least} or more")
        if not 0 < rate < 1:
            raise ValueError(f"got rate {rate} for the neuron_local rule, expected a number between 0 and 1")
        generator = torch.Generator().manual_seed(seed)
        self.error_channels, self.readout_channels = error_channels, readout_channels
        inputs = len(OWN) + error_channels
        self.top = NeuronMLP(len(OWN), hidden, generator)
        self.top_error = scaled_normal(error_channels, hidden, generator)
        self.neuron = NeuronMLP(inputs, hidden, generator)
        # Rows: what the weights below read, the bias change, the error sent down, what the weights above read.
        self.rows_below = len(UPPER) * readout_channels
        rows = self.rows_below + 1 + error_channels + len(LOWER) * readout_channels
        self.from_hidden = scaled_normal(rows, hidden, generator)
        self.from_inputs = scaled_normal(rows, inputs, generator)
        self.offset = nn.Parameter(torch.zeros(rows))
        self.mixing = nn.Parameter(torch.tensor(list(TERMS.values())) / QUICK)
        self.mixing_slopes = nn.Parameter(torch.zeros(len(CONTEXT), len(TERMS)))
        self.log_rate = nn.Parameter(torch.tensor(math.log(rate) / QUICK))
        self.rate_slopes = nn.Parameter(torch.tensor([POWER * MIDDLE / QUICK, 0.0, 0.0]))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.0)))
        self.straighten = nn.Parameter(torch.tensor(straighten / QUICK))
        self._start_competitive()

    @torch.no_grad()
    def _start_competitive(self) -> None:
        """Let ``order_0`` start as ⟨levels_low share_up⟩, online k-means on a sphere, and biases only straighten."""
        push = self.rows_below
        above = push + 1 + self.error_channels
        for row in (push, *range(self.readout_channels), *range(above, above + self.readout_channels)):
            self.from_hidden[row] = 0.0
            self.from_inputs[row] = 0.0
        self.from_inputs[above : above + self.readout_channels, OWN.index("levels")] = 1.0
        self.from_inputs[0, OWN.index("share")] = SHARE * self.readout_channels

    def rate(self, context: Tensor) -> Tensor:
        """The learned inner rate [...] of a layer, for its ``context`` [..., 3]."""
        return (QUICK * (self.log_rate + _along(context, self.rate_slopes, 1))).exp()

    def mixing_weights(self, context: Tensor) -> Tensor:
        """The weights [..., 11] of TERMS in a layer, for its ``context`` [..., 3]."""
        return QUICK * (self.mixing + _along(context, self.mixing_slopes, 2))

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step on ``views["unlabelled"]`` [B, D]."""
        return self._sweep(problem, state, views["unlabelled"], batched=False)

    def batched_step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The same for T tasks at once, faster, by ``NeuronBlock`` and ``batched_change``."""
        return self._sweep(problem, state, views["unlabelled"], batched=True)

    def _sweep(self, problem: Problem, state: State, x: Tensor, *, batched: bool) -> State:
        """The State after one inner step on ``x`` [..., B, D], from the last layer down to the input."""
        depth = len(problem.network.sizes) - 1
        activations = problem.network.forward(state, x)
        spreads = [spread(x) for x in activations.x]
        time = inner_time(state)
        new: State = {"t": state["t"] + 1}
        error: Tensor | None = None
        upper: Tensor | None = None
        rate = above = time  # of the layer above, once there is one
        for layer in range(depth, -1, -1):
            context = layer_context(time, layer, depth)
            unit = self._unit_inputs(spreads[layer], state, layer, depth, context)
            own = self._own(activations, spreads, layer)
            z = own[OWN.index("z")]
            read = self._batched_read if batched else self._read
            error, (given, push, sent, lower) = read(own, unit, error, first=layer == 0, last=upper is None)
            if upper is not None:
                w = state[f"w{layer + 1}"]
                v, u = spreads[layer].standardised, spreads[layer + 1].standardised
                terms = (w, lower, upper, v, u, self.mixing_weights(above))
                change = rate[..., None, None] * (batched_change(*terms) if batched else weight_change(*terms))
                new[f"w{layer + 1}"] = unit_rms_columns(w + change)
                new[f"v{layer + 1}"] = unit_rms_columns(state[f"v{layer + 1}"] + change)
            if layer > 0:
                b, rate, above = state[f"b{layer}"], self.rate(context), context
                share = rate[..., None]
                goal = self._bias_goal(push.mean(-2)[..., 0, :], spreads[layer], z - b[..., None, :])
                new[f"b{layer}"] = b + share * (goal - b) if batched else b * (1 - share) + share * goal
                local = error * torch.sigmoid(z)[..., None, :, :] + sent
                error = (local.flatten(-3, -2) @ state[f"v{layer}"].mT).unflatten(-2, local.shape[-3:-1])
                upper = given
        return new

    def _bias_goal(self, push: Tensor, spread: Spread, u: Tensor) -> Tensor:
        """Where biases [..., N] move: what neurons ask for, ``push`` [..., N], and away from skewness, within REACH.

        ``u`` [..., B, N] are the pre-activations without biases. A relu is nearly straight at biases near 1, tanh at 0.
        """
        added = skewness(spread.standardised) - skewness(u)
        return REACH * torch.tanh(push + QUICK * self.straighten[..., None] * added)

    def _own(self, activations: Activations, spreads: list[Spread], layer: int) -> list[Tensor]:
        """What the neurons of ``layer`` see of themselves [..., B, N], in the order of OWN."""
        if layer == 0:
            none = torch.zeros_like(activations.x[0])
            return [spreads[0].levels, spreads[0].standardised, none, none]
        z = activations.z[layer]
        lead, share = rivalry(z, self.log_sharpness.exp()[..., None, None])
        return [spreads[layer].levels, z, lead, share / SHARE]

    def _unit_inputs(self, spread: Spread, state: State, layer: int, depth: int, context: Tensor) -> Tensor:
        """Per-unit inputs of a neuron, [..., UNIT_INPUTS, N]; statistics of weights that do not exist are 0."""
        zero = torch.zeros_like(spread.mean)
        incoming, outgoing, bias = [zero, zero], [zero, zero, zero], zero
        if layer > 0:
            w = state[f"w{layer}"]
            incoming, bias = [w.abs().mean(-2), w.mean(-2)], state[f"b{layer}"]
        if layer < depth:
            w = state[f"w{layer + 1}"]
            outgoing = [w.abs().mean(-1), torch.sqrt((w * w).mean(-1) + EPS), w.mean(-1)]
        own = torch.stack([*incoming, *outgoing, spread.mean, spread.deviation, bias, torch.ones_like(zero)], -2)
        return torch.cat([own, context[..., None].expand(*context.shape, zero.shape[-1])], -2)

    def _read(
        self, own: list[Tensor], unit: Tensor, error: Tensor | None, *, first: bool, last: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The error at unit rms, and what neurons give weights below, bias, error, weights above: [rows, B, N] each.

        The last layer makes the ``error`` itself. Rows below the ``first`` layer and above the ``last`` are left out.
        """
        seen = torch.stack(own)
        if error is None:
            error = channel_map(self.top_error, self.top(seen, unit))
        error = error * torch.rsqrt((error * error).mean(0) + EPS)
        seen = torch.cat([seen, error])
        rows, kept = self._rows(first=first, last=last)
        read = channel_map(self.from_hidden[rows], self.neuron(seen, unit)) + channel_map(self.from_inputs[rows], seen)
        return error, (read + self.offset[rows, None, None]).split(kept)

    def _batched_read(
        self, own: list[Tensor], unit: Tensor, error: Tensor | None, *, first: bool, last: bool
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same for T tasks, faster, with a leading T in every tensor."""
        if error is None:
            error = self.top.batched(torch.stack(own, 1), unit, self.top_error, None, None)
        seen = SeenByNeurons.apply(error, EPS, *own)
        rows, kept = self._rows(first=first, last=last)
        readout = (self.from_hidden[..., rows, :], self.from_inputs[..., rows, :], self.offset[..., rows])
        read = self.neuron.batched(seen, unit, *readout)
        return seen[:, len(OWN) :], read.split(kept, 1)

    def _rows(self, *, first: bool, last: bool) -> tuple[slice, list[int]]:
        """The rows of the readout that a layer needs, and how many of each kind they are."""
        sizes = [self.rows_below, 1, self.error_channels, len(LOWER) * self.readout_channels]
        start, end = (sum(sizes[:3]) if first else 0), (sum(sizes[:3]) if last else sum(sizes))
        return slice(start, end), [0, 0, 0, sizes[3]] if first else [*sizes[:3], 0] if last else sizes

    def parts(self) -> Iterator[tuple[str, Rule]]:
        """Every term of the weight change, the error channels, the lateral inputs, what straightens, and inner time."""
        every = slice(None)
        zeros: dict[str, list[tuple[str, Any]]] = {
            f"term {term}": [("mixing", place), ("mixing_slopes", (every, place))] for place, term in enumerate(TERMS)
        }
        errors = list(range(len(OWN), len(OWN) + self.error_channels))
        lateral = [OWN.index("lead"), OWN.index("share")]
        for name, inputs in (("error channels", errors), ("lateral inputs", lateral)):
            zeros[name] = [("neuron.example", (every, inputs)), ("from_inputs", (every, inputs))]
        time = CONTEXT.index("time")
        zeros |= {"straighten": [("straighten", ())], "inner time": [("mixing_slopes", time), ("rate_slopes", time)]}
        return without(self, zeros)

    @torch.no_grad()
    def describe(self) -> dict[str, float]:
        """The learned rate and the mixing weight of every term in the middle of time and depth, and their slopes."""
        numbers = {"rate": float(self.rate(torch.zeros(len(CONTEXT)).to(self.rate_slopes)))}
        numbers |= {"sharpness": float(self.log_sharpness.exp()), "straighten": QUICK * float(self.straighten)}
        slopes = zip(CONTEXT, self.rate_slopes.tolist(), strict=True)
        numbers |= {f"rate_slope/{name}": QUICK * value for name, value in slopes}
        mixing = torch.cat([self.mixing[None], self.mixing_slopes]) * QUICK
        for kind, row in zip(("mixing", *(f"mixing_{name}" for name in CONTEXT)), mixing.tolist(), strict=True):
            numbers |= {f"{kind}/{name}": value for name, value in zip(TERMS, row, strict=True)}
        return numbers


def _along(context: Tensor, slopes: Tensor, dims: int) -> Tensor:
    """``context`` [..., 3] times ``slopes`` of so many dimensions, which tasks share, or that with a leading T."""
    return context @ slopes if slopes.dim() == dims else torch.einsum("tc,tc...->t...", context, slopes)


def rivalry(z: Tensor, sharpness: Tensor) -> tuple[Tensor, Tensor]:
    """How far each unit of ``z`` [..., B, N] leads its layer, and its share of the layer's response; both [..., B, N].

    The lead is z less the layer's smooth mean log(mean exp(sharpness · z)) / sharpness; the share is N · softmax.
    """
    total = torch.logsumexp(sharpness * z, -1, keepdim=True) - math.log(z.shape[-1])
    lead = z - total / sharpness
    return lead, torch.exp(sharpness * lead)


def inner_time(state: State) -> Tensor:
    """log(1 + t) / MIDDLE − 1 [...] of the count ``t`` [...] of inner steps in ``state``: -1 at 0, 1 at a thousand."""
    return torch.log1p(state["t"]) / MIDDLE - 1


def layer_context(time: Tensor, layer: int, depth: int) -> Tensor:
    """The CONTEXT [..., 3] of ``layer``, 0 to ``depth``, at ``time`` [...]: depth runs from -1 (input) to 1 (last)."""
    position, top = torch.full_like(time, 2 * layer / depth - 1), torch.full_like(time, float(layer == depth))
    return torch.stack([time, position, top], -1)
