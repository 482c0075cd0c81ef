"""The Metz rule as one would first write it: term by term from the paper, one task, eager autograd.

Nothing is fused or shared, convolutions are ``F.conv1d`` and every readout is a product of its own. What
``scripts/benchmark.py`` compares with; ``tests/test_benchmarks.py`` holds it equal to the rule itself.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from update_rules.contract import Network, State
from update_rules.metz.change import ABOVE_READOUTS, BELOW_READOUTS, TERMS
from update_rules.metz.metz import Metz

Theta = Mapping[str, Tensor]


def convolve(theta: Theta, name: str, x: Tensor, over: str) -> Tensor:
    """The convolution ``name`` of ``x`` [B, N, C] over its "examples" or "units"."""
    weight = theta[f"{name}.weight"].permute(2, 1, 0)
    order = (1, 2, 0) if over == "examples" else (0, 2, 1)
    y = F.conv1d(x.permute(order), weight, theta[f"{name}.bias"], padding=weight.shape[2] // 2)
    return y.permute((2, 0, 1) if over == "examples" else (0, 2, 1))


def batch_norm(theta: Theta, name: str, x: Tensor) -> Tensor:
    """Batch norm of ``x`` [B, N, C] over B and N."""
    variance, mean = torch.var_mean(x, (0, 1), correction=0)
    return (x - mean) / torch.sqrt(variance + 1e-3) + theta[f"{name}.offset"]


def convolve_norm(theta: Theta, name: str, x: Tensor, over: str) -> Tensor:
    """Convolution, batch norm, relu."""
    return F.relu(batch_norm(theta, f"{name}.norm", convolve(theta, f"{name}.convolution", x, over)))


def top_signal(rule: Metz, theta: Theta, x: Tensor) -> Tensor:
    """The error signal [B, N, C] of the top layer from ``x`` [B, N]."""
    t = convolve_norm(theta, "top_signal.entry", x[:, :, None], "examples").transpose(1, 2)
    for index in range(2):
        t = convolve_norm(theta, f"top_signal.across_units.{index}", t, "examples")
    t = t.transpose(1, 2)
    for index in range(len(rule.top_signal.layers)):
        t = convolve_norm(theta, f"top_signal.layers.{index}", t, "examples")
    return convolve(theta, "top_signal.exit", t, "examples")


def neuron_state(rule: Metz, theta: Theta, state: State, layer: int, x: Tensor, z: Tensor, error: Tensor) -> Tensor:
    """The states [B, N, H] of one layer."""
    examples, units = x.shape
    statistics = []
    for weights in (state.get(f"w{layer}"), state.get(f"w{layer + 1}")):
        if weights is not None:
            columns = weights if weights is state.get(f"w{layer}") else weights.T
            deviation = torch.sqrt(columns.var(0, correction=0) + 1e-8)
            statistics += [columns.abs().mean(0), torch.sqrt((columns**2).mean(0) + 1e-6), columns.mean(0), deviation]
    if len(statistics) == 4:
        statistics = statistics * 2
    per_unit = torch.stack(statistics, 1)
    per_unit = per_unit / torch.sqrt((per_unit**2).mean() + 1e-6)
    bias = state[f"b{layer}"] if layer else x.new_zeros(units)
    angle = torch.linspace(0, 4 * math.pi, units, dtype=x.dtype, device=x.device).expand(examples, units)
    seen = torch.cat([torch.stack([x, z, torch.sin(angle), torch.cos(angle)], -1), error], -1)
    seen = batch_norm(theta, "neuron_state.input_norm", seen)
    constant = torch.cat([per_unit, bias[:, None]], 1).expand(examples, units, 9)
    t = torch.cat([constant, seen], -1)
    for index in range(len(rule.neuron_state.over_units)):
        t = convolve_norm(theta, f"neuron_state.over_examples.{index}", t, "examples")
        inner = convolve_norm(theta, f"neuron_state.over_units.{index}.first", t, "units")
        t = t + convolve_norm(theta, f"neuron_state.over_units.{index}.second", inner, "units")
    return t


def readout(rule: Metz, theta: Theta, change: str, name: str, h: Tensor) -> Tensor:
    """One readout [B, N, R] of neuron states."""
    side, names = ("below", BELOW_READOUTS) if name in BELOW_READOUTS else ("above", ABOVE_READOUTS)
    channels = rule.forward_change.readout_channels
    columns = slice(names.index(name) * channels, (names.index(name) + 1) * channels)
    return h @ theta[f"{change}.{side}.weight"][:, columns] + theta[f"{change}.{side}.bias"][columns]


def normalise(t: Tensor) -> Tensor:
    """``t`` [P, N] over sqrt(1 + mean square of its columns)."""
    return t / torch.sqrt(1 + (t**2).mean(0))


def weight_change(
    rule: Metz, theta: Theta, change: str, weights: Tensor, x: Tensor, h: Tensor, x_up: Tensor, h_up: Tensor
) -> Tensor:
    """The change [P, N] of one layer's weights."""
    examples = x.shape[0]

    def read(name: str) -> Tensor:
        return readout(rule, theta, change, name, h if name in BELOW_READOUTS else h_up)

    def product(bottom: str, top: str) -> Tensor:
        scale = examples * rule.forward_change.readout_channels
        return torch.einsum("bpr,bnr->pn", read(bottom), read(top)) / scale

    def symmetric(square: Tensor) -> Tensor:
        square = (square + square.T) / math.sqrt(2)
        return (square - torch.diag(torch.diag(square))) / math.sqrt(len(square))

    w = weights / torch.sqrt((weights**2).mean(0) + 1e-6)
    u = (x_up - x_up.mean(0)) / torch.sqrt(x_up.var(0, correction=0) + 1e-6)
    v = (x - x.mean(0)) / torch.sqrt(x.var(0, correction=0) + 1e-6)
    correlated = w @ (u.T @ u / examples / math.sqrt(u.shape[1]))
    bent = torch.sqrt(1 + w**2) - 1
    psd = product("lin_upper_psd_top", "lin_upper_psd_top") / math.sqrt(u.shape[1])
    terms = {
        "w_base": w,
        "large_decay": w**2 * torch.sign(w),
        "decorr_x": correlated / torch.sqrt((correlated**2 + 1e-8).mean()),
        "hebb": -v.T @ u / examples,
        "0_order": product("weight_readout_0_bottom", "weight_readout_0_top"),
        "rbf": torch.exp(-(w**2)) * product("weight_readout_rbf_bottom", "weight_readout_rbf_top"),
        "1_order": w * product("weight_readout_1_bottom", "weight_readout_1_top"),
        "lin_upper_symm": w @ symmetric(product("lin_upper_symm_bottom", "lin_upper_symm_top")),
        "lin_upper_psd": w @ psd,
        "lin_lower_symm": symmetric(product("lin_lower_symm_bottom", "lin_lower_symm_top")) @ w,
        "sqr_upper_symm": bent @ symmetric(product("sqr_upper_symm_bottom", "sqr_upper_symm_top")) * torch.sign(w),
        "sqr_lower_symm": symmetric(product("sqr_lower_symm_bottom", "sqr_lower_symm_top")) @ bent * torch.sign(w),
    }
    mixed = theta[f"{change}.mix_bias"].expand_as(w)
    for weight, name in zip(theta[f"{change}.mix"], TERMS, strict=True):
        mixed = mixed + weight * normalise(terms[name])
    mixed = mixed / len(TERMS)
    mixed = mixed - w * F.relu((mixed * w).mean())
    return normalise(mixed / math.sqrt(len(TERMS))) - w / 7


def step(rule: Metz, theta: Theta, network: Network, state: State, x: Tensor) -> State:
    """The State after one update of one task on ``x`` [B, D]."""
    activations = network.forward(state, x)
    xs, zs = activations.x, activations.z
    top = len(xs) - 1
    error = top_signal(rule, theta, xs[top])
    h: dict[int, Tensor] = {}
    for layer in range(top, -1, -1):
        h[layer] = neuron_state(rule, theta, state, layer, xs[layer], zs[layer], error)
        if layer:
            sent = h[layer] @ theta["error_readout.weight"] + theta["error_readout.bias"]
            local = error * torch.sigmoid(zs[layer])[:, :, None] + sent
            below = torch.einsum("pn,bnc->bpc", state[f"v{layer}"], local)
            error = below / torch.sqrt(1e-6 + (below**2).mean(-1, keepdim=True))
    changes: State = {}
    for layer in range(1, top + 1):
        sides = (xs[layer - 1], h[layer - 1], xs[layer], h[layer])
        changes[f"w{layer}"] = weight_change(rule, theta, "forward_change", state[f"w{layer}"], *sides)
        changes[f"v{layer}"] = changes[f"w{layer}"]
        if rule.backward_change is not None:
            changes[f"v{layer}"] = weight_change(rule, theta, "backward_change", state[f"v{layer}"], *sides)
        bias = (h[layer] @ theta["bias_readout.weight"] + theta["bias_readout.bias"])[:, :, 0].mean(0)
        bias = bias + F.relu(-bias.mean())
        changes[f"b{layer}"] = bias / torch.sqrt(0.5 + (bias**2).mean())
    rate = rule.learning_rate
    return {key: value * (1 - rate) - rate * changes[key] for key, value in state.items()}
