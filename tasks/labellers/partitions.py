"""Classes made without labels: groups of examples that lie together in an embedding, for tasks as in CACTUs.

Hsu et al. (2019), algorithm 1: P partitions of one data set. A partition is a data set whose classes are the groups, so
that a ``TaskSource`` of all of them draws a partition and then groups, each equally likely, whatever their sizes.
Shapes: n examples, E embedding axes.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from tasks.dataset import Dataset, of_classes
from tasks.labellers.contract import Features, Labeller

LARGE_SHARE = 0.75
"""A partition is drawn again until more than this share of its groups is large enough."""

ATTEMPTS = 20


def first_large(draw: Callable[[], Tensor], wanted: int, what: str, fewest: int) -> Tensor:
    """The first partition [n] of those that ``draw`` gives in which most of ``wanted`` groups have ``fewest`` examples.

    Raises ValueError, with ``what`` as a word for groups, where ATTEMPTS draws leave too many of them small.
    """
    for _ in range(ATTEMPTS):
        groups = draw()
        if int((torch.bincount(groups) >= fewest).sum()) > LARGE_SHARE * wanted:
            return groups
    raise ValueError(
        f"got {wanted} {what} of {len(groups)} examples, of which {100 * (1 - LARGE_SHARE):.0f} % or more had fewer "
        f"than {fewest} in {ATTEMPTS} attempts; lower their number, or the shots and queries of a task"
    )


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
    names = tuple(map(str, present.tolist()))
    return of_classes(Dataset(name, dataset.x, y, dataset.image_shape, names, dataset.group, labelled=False), kept)


class Partitions(Labeller):
    """``partitions`` of each data set into about ``groups`` by what ``encoder`` gives; a subclass says how.

    Raises ValueError for no partitions, fewer than two groups and no encoder.
    """

    sees_labels = False
    settings = "true"
    """Labels are the classes of partitions, which the fingerprints of these cover."""

    def __init__(self, partitions: int = 10, groups: int = 100, encoder: str = "inputs") -> None:
        if partitions < 1:
            raise ValueError(f"got partitions={partitions}, expected 1 or more")
        if groups < 2:
            raise ValueError(f"got groups={groups}, expected 2 or more")
        if not encoder:
            raise ValueError("got encoder='', expected inputs, an encoder file, a rule file or a rule's name")
        self.partitions, self.groups, self.encoder = partitions, groups, encoder

    def trained_files(self) -> Sequence[str]:
        """The encoder, unless embeddings are the inputs themselves."""
        return () if self.encoder == "inputs" else (self.encoder,)

    def datasets(self, dataset: Dataset, features: Features, fewest: int, generator: Generator) -> Iterator[Dataset]:
        """The partitions, groups of ``fewest`` or more as classes. Raises ValueError for an embedding that is unfit."""
        embedding = features(dataset, self.encoder)
        if embedding.dim() != 2 or len(embedding) != len(dataset) or not torch.isfinite(embedding).all():
            raise ValueError(
                f"{dataset.name}: got an embedding {list(embedding.shape)}, expected finite numbers "
                f"[{len(dataset)}, axes]"
            )
        for place in range(self.partitions):
            found = self.groups_of(embedding, place, fewest, generator)
            yield grouped(dataset, found, fewest, f"{dataset.name}, partition {place + 1}")

    def groups_of(self, embedding: Tensor, place: int, fewest: int, generator: Generator) -> Tensor:
        """The group int64 [n] of every example of ``embedding`` [n, E] in partition number ``place``."""
        raise NotImplementedError
