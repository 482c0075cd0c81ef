"""Classes made without labels: groups of examples that lie together in an embedding, for tasks as in CACTUs.

Hsu et al. (2019), algorithm 1: P partitions of one data set, each by k-means on the embedding with its axes scaled at
random, or by random hyperplanes. A partition is a data set whose classes are the groups, so that a ``TaskSource`` of
all of them draws a partition and then groups, each equally likely, whatever their sizes. Labels of the data set are
never looked at. Shapes: n examples, E embedding axes.
"""

import math
from collections.abc import Iterator

import torch
from sklearn.cluster import KMeans
from torch import Generator, Tensor

from tasks.dataset import Dataset, of_classes

PARTITIONS = ("clusters", "hyperplanes")
"""The kinds there are."""

LARGE_SHARE = 0.75
"""A partition is drawn again until more than this share of its groups is large enough."""

ATTEMPTS = 20


def cluster_groups(embedding: Tensor, clusters: int, generator: Generator, fewest: int) -> Tensor:
    """The cluster int64 [n] of every example of ``embedding`` [n, E]: k-means++ until most have ``fewest`` examples.

    Raises ValueError for fewer examples than clusters, and where ATTEMPTS draws leave too many clusters small.
    """
    if not 2 <= clusters <= len(embedding):
        raise ValueError(f"got {clusters} clusters of {len(embedding)} examples, expected 2 to {len(embedding)}")
    for _ in range(ATTEMPTS):
        seed = int(torch.randint(2**31, (), generator=generator))
        found = KMeans(clusters, n_init=1, max_iter=3000, random_state=seed).fit(embedding.double().numpy())
        groups = torch.from_numpy(found.labels_).long()
        if _enough(groups, clusters, fewest):
            return groups
    raise ValueError(_too_small(len(embedding), clusters, "clusters", fewest))


def hyperplane_groups(embedding: Tensor, cells: int, generator: Generator, fewest: int) -> Tensor:
    """The cell int64 [n] of every example of ``embedding`` [n, E] between ceil(log2 ``cells``) random hyperplanes.

    Their normals are of random directions and they meet in the mean. They are drawn again until most of ``cells`` have
    ``fewest`` examples; raises ValueError where ATTEMPTS draws leave too few.
    """
    planes = math.ceil(math.log2(cells))
    centred = embedding - embedding.mean(0)
    for _ in range(ATTEMPTS):
        normals = torch.randn(embedding.shape[1], planes, generator=generator).to(embedding)
        groups = ((centred @ normals > 0) * 2 ** torch.arange(planes)).sum(1)
        if _enough(groups, cells, fewest):
            return groups
    raise ValueError(_too_small(len(embedding), cells, "cells", fewest))


def _enough(groups: Tensor, wanted: int, fewest: int) -> bool:
    return int((torch.bincount(groups) >= fewest).sum()) > LARGE_SHARE * wanted


def _too_small(examples: int, wanted: int, what: str, fewest: int) -> str:
    return (
        f"got {wanted} {what} of {examples} examples, of which {100 * (1 - LARGE_SHARE):.0f} % or more had fewer than "
        f"{fewest} in {ATTEMPTS} attempts; lower their number, or the shots and queries of a task"
    )


def scaled_at_random(embedding: Tensor, generator: Generator) -> Tensor:
    """``embedding`` [n, E] with each axis times a number drawn uniformly from 0 to 1."""
    return embedding * torch.rand(embedding.shape[1], generator=generator).to(embedding)


def grouped(dataset: Dataset, groups: Tensor, fewest: int, name: str) -> Dataset:
    """The examples of ``dataset`` whose group in ``groups`` [n] has ``fewest`` or more, with groups as classes.

    Raises ValueError where fewer than two groups are left.
    """
    present, y, counts = torch.unique(groups, return_inverse=True, return_counts=True)
    kept = (counts >= fewest).nonzero().flatten().tolist()
    if len(kept) < 2:
        raise ValueError(
            f"{name}: {len(kept)} of {len(present)} groups have {fewest} examples or more, expected at least 2; take "
            "fewer groups, shots or queries"
        )
    names = tuple(str(group) for group in present.tolist())
    return of_classes(Dataset(name, dataset.x, y, dataset.image_shape, names, dataset.group), kept)


def partitions(
    dataset: Dataset, embedding: Tensor, count: int, groups: int, fewest: int, kind: str, generator: Generator
) -> Iterator[Dataset]:
    """``count`` partitions of ``dataset`` by ``embedding`` [n, E] into ``groups`` of ``fewest`` or more examples each.

    ``kind`` is ``clusters`` (the first with all axes as they are, the others with axes scaled at random) or
    ``hyperplanes``. Raises ValueError for another kind, an embedding of other examples, or one that is not finite.
    """
    if kind not in PARTITIONS:
        raise ValueError(f"got partitions by {kind!r}, expected clusters or hyperplanes")
    if embedding.dim() != 2 or len(embedding) != len(dataset) or not torch.isfinite(embedding).all():
        raise ValueError(
            f"{dataset.name}: got an embedding {list(embedding.shape)}, expected finite numbers [{len(dataset)}, axes]"
        )
    for place in range(count):
        if kind == "clusters":
            scaled = embedding if place == 0 else scaled_at_random(embedding, generator)
            found = cluster_groups(scaled, groups, generator, fewest)
        else:
            found = hyperplane_groups(embedding, groups, generator, fewest)
        yield grouped(dataset, found, fewest, f"{dataset.name}, partition {place + 1}")
