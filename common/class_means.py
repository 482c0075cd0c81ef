"""Means of features by class."""

import torch
from torch import Tensor


def class_means(features: Tensor, classes: Tensor, ways: int) -> Tensor:
    """The mean features [C, N] of ``ways`` classes, C, from ``features`` [S, N] and the ``classes`` [S] of examples."""
    members = (classes[:, None] == torch.arange(ways, device=classes.device)).to(features.dtype)
    return members.mT @ features / members.sum(0)[:, None]
