"""The original meta-objective: how well a few labels read the features out by ridge regression.

Metz et al. (2019), section 3.3. Shapes: B examples, F features, C ways.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from outer_loop.readouts.ridge_regression import ridge_weights


class MetaObjective(NamedTuple):
    """The meta-objective of one task and its parts; scalars except ``weights``."""

    loss: Tensor
    """``mse_query`` + ``ridge_component``."""
    mse_query: Tensor
    """Squared distance between normalised predictions and targets, summed over ways, mean over query examples."""
    mse_support: Tensor
    """The same for the support examples, with plain predictions."""
    ridge_component: Tensor
    """Penalty times the sum of the squared weights without the bias, divided by the number of support examples."""
    accuracy_query: Tensor
    """Share of query examples whose largest prediction is their class."""
    accuracy_support: Tensor
    """The same for the support examples."""
    weights: Tensor
    """Readout weights [F+1, C], the bias last."""


def centred_targets(y: Tensor, ways: int, dtype: torch.dtype) -> Tensor:
    """Targets [B, C] for integer labels ``y`` [B]: one-hot, minus the overall mean, scaled to mean squared norm 1."""
    one_hot = (y[:, None] == torch.arange(ways, device=y.device)).to(dtype)
    centred = one_hot - one_hot.mean()
    return centred * torch.rsqrt((centred * centred).sum(1).mean())


def metz_objective(
    features_support: Tensor,
    y_support: Tensor,
    features_query: Tensor,
    y_query: Tensor,
    ways: int,
    penalty: float = 0.1,
) -> MetaObjective:
    """The meta-objective of one task, from features [B, F] and integer labels [B] in 0..ways-1 of support and query.

    Both feature sets should come from one forward pass over the concatenated batch, since batch normalisation sees
    both. Differentiable in the features; works under ``torch.func.vmap``. A query prediction near 0, as from features
    that are all constant, has no direction: its gradient is huge, and at exactly 0 the loss is not a number.
    """
    target_support = centred_targets(y_support, ways, features_support.dtype)
    target_query = centred_targets(y_query, ways, features_query.dtype)
    weights = ridge_weights(features_support, target_support, penalty)
    support = features_support @ weights[:-1] + weights[-1]
    query = features_query @ weights[:-1] + weights[-1]
    normalised = query / torch.linalg.vector_norm(query, dim=1, keepdim=True)
    mse_query = ((normalised - target_query) ** 2).sum(1).mean()
    ridge_component = penalty * (weights[:-1] ** 2).sum() / features_support.shape[0]
    return MetaObjective(
        loss=mse_query + ridge_component,
        mse_query=mse_query,
        mse_support=((support - target_support) ** 2).sum(1).mean(),
        ridge_component=ridge_component,
        accuracy_query=(query.argmax(1) == y_query).to(query.dtype).mean(),
        accuracy_support=(support.argmax(1) == y_support).to(support.dtype).mean(),
        weights=weights,
    )
