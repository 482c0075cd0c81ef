"""Classes that are clusters of an embedding, as in CACTUs (Hsu et al., 2019, algorithm 1)."""

import torch
from sklearn.cluster import KMeans
from torch import Generator, Tensor

from tasks.labellers.partitions import Partitions, first_large


def cluster_groups(embedding: Tensor, clusters: int, generator: Generator, fewest: int) -> Tensor:
    """The cluster int64 [n] of every example of ``embedding`` [n, E]: k-means++ until most have ``fewest`` examples.

    Raises ValueError for fewer examples than clusters, and where ATTEMPTS draws leave too many clusters small.
    """
    if not 2 <= clusters <= len(embedding):
        raise ValueError(f"got {clusters} clusters of {len(embedding)} examples, expected 2 to {len(embedding)}")

    def draw() -> Tensor:
        seed = int(torch.randint(2**31, (), generator=generator))
        found = KMeans(clusters, n_init=1, max_iter=3000, random_state=seed).fit(embedding.double().numpy())
        return torch.from_numpy(found.labels_).long()

    return first_large(draw, clusters, "clusters", fewest)


def scaled_at_random(embedding: Tensor, generator: Generator) -> Tensor:
    """``embedding`` [n, E] with each axis times a number drawn uniformly from 0 to 1."""
    return embedding * torch.rand(embedding.shape[1], generator=generator).to(embedding)


class Clusters(Partitions):
    """Partitions into clusters of k-means: the first with all axes as they are, the others with axes scaled at random.

    ``groups`` is the number of clusters.
    """

    def groups_of(self, embedding: Tensor, place: int, fewest: int, generator: Generator) -> Tensor:
        """The cluster of every example."""
        scaled = embedding if place == 0 else scaled_at_random(embedding, generator)
        return cluster_groups(scaled, self.groups, generator, fewest)
