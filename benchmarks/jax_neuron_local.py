"""The rule ``neuron_local`` in JAX as one pure function of one task, for ``jit``, ``vmap``, ``scan`` and ``grad``.

θ has the names of ``NeuronLocal.named_parameters()``. Channels come first: last, it took 1.6 times as long.
Shapes: B examples, N units, P units below, F inputs per example, H hidden channels, R readouts.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.lax import rsqrt

from benchmarks.jax_layers import forward, soft_normalise, standardise, symmetrise
from update_rules.local.neuron_local import MIDDLE, QUICK, REACH, SHARE
from update_rules.local.weight_terms import LOWER, UPPER

Theta = Mapping[str, Array]
State = dict[str, Array]
EPS = 1e-6


def levels(x: Array) -> Array:
    """``x`` [B, N] with mean 0 over the batch, over one deviation for the layer."""
    centred = x - x.mean(0)
    return centred * rsqrt((centred**2).mean() + EPS)


def own_inputs(theta: Theta, x: Array, z: Array, layer: int) -> Array:
    """What neurons see of themselves per example, [4, B, N]; inputs do not compete."""
    if layer == 0:
        return jnp.stack([levels(x), z, jnp.zeros_like(z), jnp.zeros_like(z)])
    sharpness = jnp.exp(theta["log_sharpness"])
    lead = z - jax.nn.logsumexp(sharpness * z, 1, b=1 / z.shape[1], keepdims=True) / sharpness
    return jnp.stack([levels(x), z, lead, jnp.exp(sharpness * lead) / SHARE])


def unit_rms_columns(w: Array) -> Array:
    """``w`` [P, N] with every column scaled to rms 1."""
    return w * rsqrt((w**2).mean(0) + EPS)


def layer_context(state: State, layer: int, top: int) -> Array:
    """Inner time, relative depth and whether it is the top layer, [3]."""
    time = jnp.log1p(state["t"]) / MIDDLE - 1
    return jnp.stack([time, jnp.full_like(time, 2 * layer / top - 1), jnp.full_like(time, float(layer == top))])


def unit_inputs(state: State, x: Array, layer: int, context: Array) -> Array:
    """What every neuron of a layer knows beside its examples, [12, N]; 0 stands for statistics of no weights."""
    zero = jnp.zeros_like(x[0])
    incoming, outgoing, bias = [zero] * 2, [zero] * 3, zero
    if layer > 0:
        w = state[f"w{layer}"]
        incoming, bias = [abs(w).mean(0), w.mean(0)], state[f"b{layer}"]
    if (w_above := state.get(f"w{layer + 1}")) is not None:
        outgoing = [abs(w_above).mean(1), jnp.sqrt((w_above**2).mean(1) + EPS), w_above.mean(1)]
    deviation = jnp.sqrt(x.var(0) + EPS)
    shared = [jnp.full_like(zero, value) for value in context]
    return jnp.stack([*incoming, *outgoing, x.mean(0), deviation, bias, jnp.ones_like(zero), *shared])


def channel_map(weights: Array, x: Array) -> Array:
    """``weights`` [R, H] applied to the channels of ``x`` [H, B, N]: [R, B, N]."""
    return (weights @ x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


def neuron(theta: Theta, name: str, seen: Array, unit: Array) -> Array:
    """The states [H, B, N] of neurons from what they see, [F, B, N] per example and [12, N] per unit."""
    first = jnp.maximum(channel_map(theta[f"{name}.example"], seen) + (theta[f"{name}.unit"] @ unit)[:, None], 0)
    history = theta[f"{name}.pooled"] @ first.mean(1) + theta[f"{name}.offset"][:, None]
    return jnp.maximum(channel_map(theta[f"{name}.mix"], first) + history[:, None], 0)


def by_name(names: Sequence[str], readouts: Array) -> dict[str, Array]:
    """``readouts`` [names · channels, B, N] as one matrix [channels · B, N] for each name."""
    return dict(zip(names, readouts.reshape(len(names), -1, readouts.shape[-1]), strict=True))


def weight_change(mixing: Array, w: Array, lower: Array, upper: Array, v: Array, u: Array) -> Array:
    """The change of ``w`` [P, N] from the readouts and standardised activations of the layers below and above."""
    low, up = by_name(LOWER, lower), by_name(UPPER, upper)
    scale, root = 1 / len(low["order_0"]), math.sqrt(w.shape[1])
    sign, square = jnp.sign(w), w**2
    magnitude = jnp.sqrt(1 + square) - 1

    def outer(a: Array, c: Array) -> Array:
        return a.T @ c * scale

    terms = (
        -w @ (u.T @ u) / (len(u) * root),
        outer(low["order_0"], up["order_0"]),
        w * outer(low["order_1"], up["order_1"]),
        v.T @ u / len(u),
        -square * sign,
        symmetrise(outer(low["linear_lower_a"], low["linear_lower_b"])) @ w,
        w @ outer(up["psd"], up["psd"]) / root,
        w @ symmetrise(outer(up["linear_upper_a"], up["linear_upper_b"])),
        jnp.exp(-square) * outer(low["rbf"], up["rbf"]),
        (symmetrise(outer(low["square_lower_a"], low["square_lower_b"])) @ magnitude) * sign,
        (magnitude @ symmetrise(outer(up["square_upper_a"], up["square_upper_b"]))) * sign,
    )
    change = sum(weight * soft_normalise(term) for weight, term in zip(mixing, terms, strict=True))
    return soft_normalise(change - w * (change * w).mean(0))


def step(theta: Theta, options: Mapping[str, Any], sizes: Sequence[int], state: State, x: Array) -> State:
    """The State after one update of one task on ``x`` [B, D]."""
    top, channels, errors = len(sizes) - 1, options["readout_channels"], options["error_channels"]
    xs, zs = forward(state, top, x)
    standard = [standardise(activation) for activation in xs]
    zs[0] = standard[0]
    ends = [len(UPPER) * channels, len(UPPER) * channels + 1, len(UPPER) * channels + 1 + errors]
    new: State = {"t": state["t"] + 1}
    error = upper = None
    rate = mixing = jnp.zeros(())  # of the layer above, once there is one
    for layer in range(top, -1, -1):
        context = layer_context(state, layer, top)
        unit = unit_inputs(state, xs[layer], layer, context)
        seen = own_inputs(theta, xs[layer], zs[layer], layer)
        if error is None:
            error = channel_map(theta["top_error"], neuron(theta, "top", seen, unit))
        error = error * rsqrt((error**2).mean(0) + EPS)
        seen = jnp.concatenate([seen, error])
        # The input layer has no weights below it and the top layer none above: XLA drops what is then not used.
        read = channel_map(theta["from_hidden"], neuron(theta, "neuron", seen, unit)) + channel_map(
            theta["from_inputs"], seen
        )
        given, push, sent, lower = jnp.split(read + theta["offset"][:, None, None], ends)
        if upper is not None:
            w, v = state[f"w{layer + 1}"], state[f"v{layer + 1}"]
            change = rate * weight_change(mixing, w, lower, upper, standard[layer], standard[layer + 1])
            new[f"w{layer + 1}"] = unit_rms_columns(w + change)
            new[f"v{layer + 1}"] = unit_rms_columns(v + change)
        if layer > 0:
            rate = jnp.exp(QUICK * (theta["log_rate"] + context @ theta["rate_slopes"]))
            mixing = QUICK * (theta["mixing"] + context @ theta["mixing_slopes"])
            b = state[f"b{layer}"]
            added_skewness = (standard[layer] ** 3).mean(0) - ((zs[layer] - b) ** 3).mean(0)
            push = push.mean(1)[0] + QUICK * theta["straighten"] * added_skewness
            new[f"b{layer}"] = b * (1 - rate) + rate * REACH * jnp.tanh(push)
            local = error * jax.nn.sigmoid(zs[layer]) + sent
            error = jnp.einsum("pn,cbn->cbp", state[f"v{layer}"], local)
        upper = given
    return new
