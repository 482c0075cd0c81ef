"""One inner step of the Metz rule for T tasks at once: the maths of ``Metz.step`` on the chains of ``metz_blocks``.

Shapes: T tasks, B examples, N units, C delta channels, H hidden channels, R readout channels.
"""

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from update_rules.contract import Activations, State
from update_rules.local.weight_terms import MixedTerms
from update_rules.metz.blocks import over_both, over_examples
from update_rules.metz.change import ABOVE_READOUTS, BELOW_READOUTS, TERMS, WeightChange, settle_bias
from update_rules.metz.layers import NORM_EPS
from update_rules.metz.neurons import NeuronState, TopSignal, unit_angles
from update_rules.metz.root_mean_square import rms_normalised

if TYPE_CHECKING:
    from update_rules.metz.metz import Metz

COLUMNS = (1,)
"""The axis that runs down the columns of weights [T, P, N]."""


def _mapped(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """The linear map ``weight`` [C_out, C_in], ``bias`` [C_out] of the channels of ``x`` [T, C_in, B, N]."""
    mapped = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.flatten(2))
    return mapped.view(len(x), -1, *x.shape[2:])


def top_signal(net: TopSignal, x: Tensor) -> Tensor:
    """The error signal [T, C, B, N] of the top layer from its activations ``x`` [T, B, N]."""
    t = over_examples([net.entry], x[:, None])
    t = over_examples(net.across_units, t.transpose(1, 3).contiguous())  # here the units are the channels
    t = over_examples(net.layers, t.transpose(1, 3).contiguous())
    padded = F.pad(t, (0, 0, 1, 1))
    taps = torch.cat([padded[:, :, tap : tap + t.shape[2]] for tap in range(3)], 1)
    return _mapped(net.exit.weight.flatten(0, 1).T, net.exit.bias, taps)


@lru_cache
def _angles(units: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``unit_angles`` of so many units, [2, 1, N]."""
    return unit_angles(torch.empty(units, dtype=dtype, device=device)).T[:, None]


def unit_statistics(state: State, top: int) -> list[Tensor]:
    """``weight_statistics`` of layers 0 to ``top``, [T, 8, N] each."""
    magnitudes, means, variances = [], [], []
    for layer in range(1, top + 1):
        weights = state[f"w{layer}"]
        absolute = weights.abs()
        for axis in (2, 1):  # out of the layer below, then into this one
            variance, mean = torch.var_mean(weights, axis, correction=0)
            magnitudes.append(absolute.mean(axis))
            means.append(mean)
            variances.append(variance)
    sizes = [mean.shape[1] for mean in means]
    mean, variance = torch.cat(means, 1), torch.cat(variances, 1)
    rms = torch.sqrt(torch.addcmul(variance, mean, mean) + 1e-6)
    sides = torch.stack([torch.cat(magnitudes, 1), rms, mean, torch.sqrt(variance + 1e-8)], 1).split(sizes, 2)
    # The first and the last layer have one side, which is repeated.
    paired = [sides[0], *sides, sides[-1]]
    both = [torch.cat(paired[index : index + 2], 1) for index in range(0, len(paired), 2)]
    return [rms_normalised(statistics, (1, 2), 1e-6) for statistics in both]


def neuron_state(net: NeuronState, x: Tensor, z: Tensor, error: Tensor, statistics: Tensor, bias: Tensor) -> Tensor:
    """States [T, H, B, N] of one layer from x, z [T, B, N], error [T, C, B, N], statistics [T, 8, N], bias [T, N]."""
    tasks, examples, _ = x.shape
    angles = _angles(x.shape[2], x.dtype, x.device).expand(tasks, -1, examples, -1)
    seen = torch.cat([x[:, None], z[:, None], angles, error], 1)
    offset = net.input_norm.offset
    # Scales of 1: without any, PyTorch has no gradient of the offset.
    seen = torch.group_norm(seen, len(offset), torch.ones_like(offset), offset, NORM_EPS)
    constant = torch.cat([statistics, bias[:, None]], 1)[:, :, None].expand(-1, -1, examples, -1)
    return over_both(net.over_examples, net.over_units, torch.cat([constant, seen], 1))


def weight_change(change: WeightChange, weights: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """The change [T, P, N] of ``weights`` from the readouts and the standardised activations on both sides."""
    w = rms_normalised(weights, COLUMNS, 1e-6)
    mix = change.mix  # in the order of TERMS: here without decorr_x and w_base, and with two signs of its own
    shared = torch.cat([mix[:2], -mix[3:5], mix[5:11]]).expand(len(w), -1)
    mixed = MixedTerms.apply(w, lower, upper, v, u, shared)
    correlated = torch.bmm(w, torch.bmm(u.mT, u)).div_(u.shape[1] * math.sqrt(u.shape[2]))
    decorrelated = rms_normalised(rms_normalised(correlated, (1, 2), 1e-8), COLUMNS, 1)
    mixed = torch.addcmul(mixed, decorrelated, mix[2])
    mixed = torch.addcmul(mixed, rms_normalised(w, COLUMNS, 1), mix[11])
    moved = (mixed + change.mix_bias) / len(TERMS)
    # The weights must not shrink along themselves.
    moved = torch.addcmul(moved, w, torch.relu((moved * w).mean((1, 2), keepdim=True)), value=-1)
    return torch.add(rms_normalised(moved / math.sqrt(len(TERMS)), COLUMNS, 1), w, alpha=-1 / 7)


class _Readouts:
    """All linear maps of a layer's neuron states as one; the first layer has nothing below, the last nothing above."""

    def __init__(self, rule: "Metz", directions: list[WeightChange]) -> None:
        below, above = ([getattr(direction, side) for direction in directions] for side in ("below", "above"))
        maps = [*below, *above, rule.error_readout, rule.bias_readout]
        self.weight = torch.cat([part.weight for part in maps], 1).T
        self.bias = torch.cat([part.bias for part in maps])
        self.rows = [len(part.bias) for part in maps]
        self.directions = len(directions)

    def of(self, h: Tensor, *, first: bool, last: bool) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """From states ``h`` [T, H, B, N] of a layer the readouts for the weights above it, and for those below.

        [T, names, R·B, N] for each direction. Then the error [T, C, B, N] and what changes the biases [T, 1, B, N].
        """
        count = self.directions
        chosen = slice(count if last else 0, count if first else None)
        start = sum(self.rows[:count]) if last else 0
        stop = sum(self.rows[:count]) if first else None
        read = _mapped(self.weight[start:stop], self.bias[start:stop], h)
        parts = list(read.split(self.rows[chosen], 1))
        lower = [] if last else [_as_matrices(part, len(BELOW_READOUTS)) for part in parts[:count]]
        rest = parts if last else parts[count:]
        return lower, [_as_matrices(part, len(ABOVE_READOUTS)) for part in rest[:count]], rest[count:]


def _as_matrices(read: Tensor, names: int) -> Tensor:
    """Readouts [T, names·R, B, N] as matrices [T, names, R·B, N] for products over examples."""
    return read.view(len(read), names, -1, read.shape[3])


def batched_changes(rule: "Metz", state: State, activations: Activations) -> State:
    """The change of every entry of ``state`` [T, ...], with its keys and shapes."""
    x, z = activations.x, activations.z
    top = len(x) - 1
    own = rule.backward_change
    directions = [rule.forward_change] if own is None else [rule.forward_change, own]
    readouts = _Readouts(rule, directions)
    standard = [rms_normalised(layer - layer.mean(1, keepdim=True), (1,), 1e-6) for layer in x]
    statistics = unit_statistics(state, top)
    error = top_signal(rule.top_signal, x[top])
    above: list[Tensor] = []
    change: State = {}
    for layer in range(top, -1, -1):
        bias = state[f"b{layer}"] if layer else torch.zeros_like(x[0][:, 0])
        h = neuron_state(rule.neuron_state, x[layer], z[layer], error, statistics[layer], bias)
        lower, upper, rest = readouts.of(h, first=layer == 0, last=layer == top)
        if layer < top:
            sides = [
                weight_change(direction, state[f"{key}{layer + 1}"], low, up, standard[layer], standard[layer + 1])
                for direction, key, low, up in zip(directions, "wv", lower, above, strict=False)
            ]
            change[f"w{layer + 1}"], change[f"v{layer + 1}"] = sides[0], sides[-1]
        if layer:
            sent, biases = rest
            change[f"b{layer}"] = settle_bias(biases.mean((1, 2)))
            local = torch.addcmul(sent, error, torch.sigmoid(z[layer])[:, None])
            below = torch.bmm(local.flatten(1, 2), state[f"v{layer}"].mT).unflatten(1, local.shape[1:3])
            error = rms_normalised(below, (1,), 1e-6)
        above = upper
    return change
