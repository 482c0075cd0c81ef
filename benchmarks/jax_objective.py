"""The ridge readout and the meta-objective of ``outer_loop.readouts`` in JAX, for one task."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def ridge_weights(features: Array, targets: Array, penalty: float) -> Array:
    """Readout weights [F+1, C], bias last, of ``features`` [B, F] and ``targets`` [B, C]."""
    feature_mean, target_mean = features.mean(0), targets.mean(0)
    a, y = features - feature_mean, targets - target_mean
    dual = a.shape[0] < a.shape[1]
    gram = a @ a.T if dual else a.T @ a
    factor = jax.scipy.linalg.cho_factor(gram + penalty * jnp.eye(len(gram), dtype=a.dtype))
    solved = jax.scipy.linalg.cho_solve(factor, y if dual else a.T @ y)
    weights = a.T @ solved if dual else solved
    return jnp.concatenate([weights, (target_mean - feature_mean @ weights)[None]])


def centred_targets(y: Array, ways: int, dtype: Any) -> Array:
    """Targets [B, C] of labels ``y`` [B]: one-hot, minus the overall mean, scaled to mean squared norm 1."""
    one_hot = jax.nn.one_hot(y, ways, dtype=dtype)
    centred = one_hot - one_hot.mean()
    return centred * jax.lax.rsqrt((centred**2).sum(1).mean())


def objective(support: Array, y_support: Array, query: Array, y_query: Array, ways: int, penalty: float = 0.1) -> Array:
    """The loss of one task from features [B, F] and labels [B] of support and query. Metz et al. (2019), 3.3."""
    target_support = centred_targets(y_support, ways, support.dtype)
    target_query = centred_targets(y_query, ways, query.dtype)
    weights = ridge_weights(support, target_support, penalty)
    predicted = query @ weights[:-1] + weights[-1]
    predicted = predicted / jnp.linalg.norm(predicted, axis=1, keepdims=True)
    mse = ((predicted - target_query) ** 2).sum(1).mean()
    return mse + penalty * (weights[:-1] ** 2).sum() / len(support)
