"""Classes that are cells between random hyperplanes in an embedding: the simplest partition that Hsu et al. try."""

import math

import torch
from torch import Generator, Tensor

from tasks.labellers.partitions import Partitions, first_large


def hyperplane_groups(embedding: Tensor, cells: int, generator: Generator, fewest: int) -> Tensor:
    """The cell int64 [n] of every example of ``embedding`` [n, E] between ceil(log2 ``cells``) random hyperplanes.

    They meet in the mean, and are drawn until ``first_large`` takes them. Raises ValueError as that does.
    """
    planes = math.ceil(math.log2(cells))
    centred = embedding - embedding.mean(0)

    def draw() -> Tensor:
        normals = torch.randn(embedding.shape[1], planes, generator=generator).to(embedding)
        return ((centred @ normals > 0) * 2 ** torch.arange(planes)).sum(1)

    return first_large(draw, cells, "cells", fewest)


class Hyperplanes(Partitions):
    """Partitions into about ``groups`` cells."""

    def groups_of(self, embedding: Tensor, place: int, fewest: int, generator: Generator) -> Tensor:
        """The cell of every example."""
        return hyperplane_groups(embedding, self.groups, generator, fewest)
