"""The base network in JAX: the forward pass of ``inner_loop.networks.mlp.MLP`` with relu, for one task."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array


def forward(state: Mapping[str, Array], layers: int, x: Array) -> tuple[list[Array], list[Array]]:
    """Activations and pre-activations [B, N_l] of every layer on ``x`` [B, D], the input first in both."""
    xs, zs = [x], [x]
    for layer in range(1, layers + 1):
        linear = xs[-1] @ state[f"w{layer}"]
        centred = linear - linear.mean(0)
        zs.append(centred * jax.lax.rsqrt((centred**2).mean(0) + 1e-6) + state[f"b{layer}"])
        xs.append(jnp.maximum(zs[-1], 0))
    return xs, zs
