"""What the rules in JAX share, for one task: the forward pass of ``MLP`` with relu, and how arrays are normalised."""

import math
from collections.abc import Mapping

import jax.numpy as jnp
from jax import Array
from jax.lax import rsqrt


def forward(state: Mapping[str, Array], layers: int, x: Array) -> tuple[list[Array], list[Array]]:
    """Activations and pre-activations [B, N_l] of every layer on ``x`` [B, D], the input first in both."""
    xs, zs = [x], [x]
    for layer in range(1, layers + 1):
        zs.append(standardise(xs[-1] @ state[f"w{layer}"]) + state[f"b{layer}"])
        xs.append(jnp.maximum(zs[-1], 0))
    return xs, zs


def standardise(x: Array) -> Array:
    """``x`` [B, N] with mean 0 and variance 1 over the examples."""
    centred = x - x.mean(0)
    return centred * rsqrt((centred**2).mean(0) + 1e-6)


def soft_normalise(t: Array) -> Array:
    """``t`` [..., P, N] over √(1 + its columns' mean square)."""
    return t * rsqrt(1 + (t**2).mean(-2, keepdims=True))


def symmetrise(squares: Array) -> Array:
    """(U + Uᵀ)/√2 of ``squares`` [..., N, N] with the diagonal set to 0, over √N."""
    units = squares.shape[-1]
    return (squares + squares.mT) * ((1 - jnp.eye(units, dtype=squares.dtype)) / math.sqrt(2 * units))
