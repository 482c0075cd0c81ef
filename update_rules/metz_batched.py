"""One inner step of the Metz rule for T tasks at once: the maths of ``Metz.step`` on the blocks of ``metz_blocks``.

Shapes: T tasks, B examples, N units, C delta channels, H hidden channels, R readout channels. Neuron states are padded:
[H, T, N+1, B+1].
"""

from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from update_rules import metz_layers
from update_rules.contract import Activations, State
from update_rules.metz_blocks import NormedInputs, Readouts, convolution_norm
from update_rules.metz_change import (
    ABOVE_READOUTS,
    BELOW_READOUTS,
    WeightChange,
    bias_change,
    decorrelation,
    soft_normalise,
    standardise,
    unit_columns,
)
from update_rules.metz_layers import Linear
from update_rules.metz_neurons import NeuronState, TopSignal, unit_angles, weight_statistics
from update_rules.weight_terms import MixedTerms


def _convolve(layer: nn.Module, x: Tensor, *, over_units: bool, residual: Tensor | None = None) -> Tensor:
    plain = cast(metz_layers.ConvolutionNorm, layer)
    return convolution_norm(x, plain.convolution.weight, plain.norm.offset, over_units, residual)


def _padded(x: Tensor) -> Tensor:
    """``x`` [C, T, N, B] with one more unit and one more example of zeros."""
    return F.pad(x, (0, 1, 0, 1))


def top_signal(net: TopSignal, x: Tensor) -> Tensor:
    """The error signal [T, N, C, B] of the top layer from its activations ``x`` [T, B, N]."""
    # The first convolution has one input channel: its five taps become five channels of a single tap.
    windows = F.pad(x.mT, (2, 2)).unfold(2, 5, 1).movedim(3, 0)
    t = convolution_norm(
        _padded(windows), net.entry.convolution.weight.movedim(1, 0), net.entry.norm.offset, False, None
    )
    t = _padded(t[:, :, :-1, :-1].transpose(0, 2))  # the units become the channels
    for block in net.across_units:
        t = _convolve(block, t, over_units=False)
    t = _padded(t[:, :, :-1, :-1].transpose(0, 2))
    for block in net.layers:
        t = _convolve(block, t, over_units=False)
    flat = F.pad(t.flatten(1), (1, 1))
    taps = torch.cat([flat[:, tap : tap + t[0].numel()] for tap in range(3)])
    signal = torch.addmm(net.exit.bias[:, None], net.exit.weight.flatten(0, 1).T, taps)
    return signal.view(-1, *t.shape[1:])[:, :, :-1, :-1].permute(1, 2, 0, 3)


def neuron_state(net: NeuronState, x: Tensor, z: Tensor, error: Tensor, statistics: Tensor, bias: Tensor) -> Tensor:
    """Padded states of one layer from x and z [T, B, N], error [T, N, C, B], statistics [T, N, 8] and bias [T, N]."""
    tasks, examples, units = x.shape
    angles = unit_angles(x).T[:, None, :, None].expand(2, tasks, units, examples)
    seen = torch.cat([x.mT[None], z.mT[None], angles, error.permute(2, 0, 1, 3)])
    t = NormedInputs.apply(torch.cat([statistics.movedim(2, 0), bias[None]]), seen, net.input_norm.offset)
    for over_examples, over_units in zip(net.over_examples, net.over_units, strict=True):
        block = cast(metz_layers.UnitBlock, over_units)
        t = _convolve(over_examples, t, over_units=False)
        t = _convolve(block.second, _convolve(block.first, t, over_units=True), over_units=True, residual=t)
    return t


def _readouts(changes: list[WeightChange], h: Tensor, *, first: bool, last: bool) -> list[tuple[Tensor, Tensor]]:
    """For each of ``changes`` the readouts (upper, lower) of one layer, [T, names, R·B, N], all from one product.

    The first layer has no weights below, and the last none above: those readouts are empty.
    """
    parts = [
        part for change in changes for part in ([] if first else [change.above]) + ([] if last else [change.below])
    ]
    weight, bias = torch.cat([part.weight for part in parts], 1), torch.cat([part.bias for part in parts])
    read = Readouts.apply(h, weight, bias, changes[0].readout_channels)
    sizes = (0 if first else len(ABOVE_READOUTS), 0 if last else len(BELOW_READOUTS))
    pieces = read.split(sizes * len(changes), 1)
    return list(zip(pieces[::2], pieces[1::2], strict=True))


def weight_change(change: WeightChange, weights: Tensor, lower: Tensor, upper: Tensor, v: Tensor, u: Tensor) -> Tensor:
    """The change [T, P, N] of ``weights`` from the readouts and the standardised activations on both sides."""
    w = unit_columns(weights)
    mix = change.mix  # in the order of TERMS: here without decorr_x and w_base, and with two signs of its own
    shared = torch.cat([mix[:2], -mix[3:5], mix[5:11]]).expand(len(w), -1)
    mixed = MixedTerms.apply(w, lower, upper, v, u, shared)
    mixed = mixed + mix[2] * soft_normalise(decorrelation(w, u)) + mix[11] * soft_normalise(w)
    return change.settle(mixed, w)


class MetzModules(Protocol):
    """The parts of the rule that a step uses."""

    top_signal: TopSignal
    neuron_state: NeuronState
    error_readout: Linear
    forward_change: WeightChange
    backward_change: WeightChange | None
    bias_readout: Linear


def batched_changes(rule: MetzModules, state: State, activations: Activations) -> State:
    """The change of every entry of ``state`` [T, ...], with its keys and shapes."""
    x, z = activations.x, activations.z
    top, examples = len(x) - 1, x[0].shape[1]
    own = rule.backward_change
    directions = [rule.forward_change] if own is None else [rule.forward_change, own]
    standard = [standardise(layer) for layer in x]
    error = top_signal(rule.top_signal, x[top])
    above: list[tuple[Tensor, Tensor]] = []
    change: State = {}
    for layer in range(top, -1, -1):
        statistics = weight_statistics(state.get(f"w{layer}"), state.get(f"w{layer + 1}"))
        bias = state[f"b{layer}"] if layer else torch.zeros_like(x[0][:, 0])
        h = neuron_state(rule.neuron_state, x[layer], z[layer], error, statistics, bias)
        here = _readouts(directions, h, first=layer == 0, last=layer == top)
        if layer < top:
            sides = [
                weight_change(direction, state[f"{key}{layer + 1}"], lower, upper, standard[layer], standard[layer + 1])
                for direction, key, (_, lower), (upper, _) in zip(directions, "wv", here, above, strict=False)
            ]
            change[f"w{layer + 1}"], change[f"v{layer + 1}"] = sides[0], sides[-1]
        if layer:
            change[f"b{layer}"] = bias_change(rule.bias_readout, h.permute(1, 2, 3, 0).sum(2)[:, :-1] / examples)
            readout = rule.error_readout
            sent = torch.addmm(readout.bias[:, None], readout.weight.T, h.flatten(1)).view(-1, *h.shape[1:])
            local = error * torch.sigmoid(z[layer]).mT[:, :, None] + sent[:, :, :-1, :-1].permute(1, 2, 0, 3)
            below = torch.bmm(state[f"v{layer}"], local.flatten(2)).unflatten(2, local.shape[2:])
            error = below * torch.rsqrt(1e-6 + (below * below).mean(2, keepdim=True))
        above = here
    return change
