"""What is drawn everywhere: numbers from a generator."""

import torch
from torch import Generator


def uniform_int(bounds: tuple[int, int], generator: Generator) -> int:
    """A whole number drawn uniformly from ``bounds``, both ends included."""
    low, high = bounds
    return int(torch.randint(low, high + 1, (), generator=generator))
