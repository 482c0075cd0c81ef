"""What the examples of a task are labelled with: pure functions of the class labels and a generator."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

Labeller = Callable[[Tensor, Generator], Tensor]
"""Class labels int64 [n] in 0..ways-1 and a generator give the task's labels, of the same shape and range."""


def true(labels: Tensor, generator: Generator) -> Tensor:
    """The class labels [n] themselves."""
    return labels


def shuffled(labels: Tensor, generator: Generator) -> Tensor:
    """The class labels [n] dealt out at random over the examples: a control from which nothing can be learned.

    Every label keeps its number of examples, so that episodes stay as balanced as with the true labels.
    """
    return labels[torch.randperm(len(labels), generator=generator)]


LABELLERS: dict[str, Labeller] = {"true": true, "shuffled": shuffled}
