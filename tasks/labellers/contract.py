"""What a labeller promises: where the labels of tasks come from, and which examples an episode shows under them.

A labeller is one class, whose options are the keyword arguments of its constructor, kept under their own names. It has
no other state and draws from the generators that it is given alone, so that equal generators give equal bits. The
defaults are those of classes that a data set has: a subclass says only what it does otherwise.

Shapes: n examples in the pool of a task, S = ways · shots support and Q = ways · queries query examples.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from common.components import arguments_of
from tasks.dataset import Dataset, without_labels
from tasks.task import Episode, Picked, Task, in_random_order

Features = Callable[[Dataset, str], Tensor]
"""A data set and the name of an encoder give an embedding [n, E] of its examples, which takes time."""


class Sizes(NamedTuple):
    """How large tasks are."""

    ways: tuple[int, int]  # (fewest, most) classes
    shots: tuple[int, int]  # (fewest, most) support examples of each class
    queries: int  # query examples of each class
    unlabelled: int = 0  # examples of each class in a set without labels

    @property
    def beside(self) -> int:
        """Examples of each class beside the shots."""
        return self.queries + self.unlabelled


class Labeller:
    """Where labels come from."""

    sees_labels: ClassVar[bool] = True
    """Whether it may look at the labels of the data; otherwise ``labelled`` hides them from it."""
    same_classes: ClassVar[bool] = False
    """Whether all tasks have the same classes under the same labels, so that they differ by their data set alone."""

    def trained_files(self) -> Sequence[str]:
        """Files of what was trained before, by which labels are made."""
        return ()

    def datasets(self, dataset: Dataset, features: Features, fewest: int, generator: Generator) -> Iterable[Dataset]:
        """The data sets whose classes of ``fewest`` examples make tasks in the place of ``dataset``: by default itself.

        ``features(dataset, encoder)`` embeds for who wants it. Raises ValueError where no such classes can be made.
        """
        return (dataset,)

    @property
    def settings(self) -> str:
        """What of the labeller decides labels, for fingerprints: by default the class and all of its options."""
        names = arguments_of(type(self)).parameters
        if lost := [name for name in names if not hasattr(self, name)]:
            raise ValueError(
                f"labeller {type(self).__name__} does not keep {', '.join(lost)}; set self.{lost[0]} in it"
            )
        options = {name: getattr(self, name) for name in names}
        return f"{type(self).__module__}:{type(self).__qualname__} {options}"

    def identity(self, dataset: Dataset) -> str:
        """A fingerprint of all of ``dataset`` that tasks depend on."""
        return dataset.fingerprint

    def usable(self, dataset: Dataset, sizes: Sizes, shots: int) -> Tensor:
        """The classes of ``dataset`` that tasks of ``shots`` shots may have, int64: those with enough examples."""
        return (dataset.counts >= shots + sizes.beside).nonzero().flatten()

    def check(self, dataset: Dataset, sizes: Sizes) -> None:
        """Raise ValueError, in one line that says what to do, unless tasks of ``sizes`` can be drawn of ``dataset``."""
        ways, shots = sizes.ways[0], sizes.shots[0]
        if dataset.classes < ways:
            raise ValueError(
                f"{dataset.name}: {dataset.classes} {'class' if dataset.classes == 1 else 'classes'}, "
                f"expected at least ways={ways}; lower ways or take data with more classes"
            )
        usable = len(self.usable(dataset, sizes, shots))
        if usable < ways:
            smallest = int(dataset.counts.argmin())
            take = f"that shots={shots} and queries={sizes.queries}"
            take += f" and unlabelled_shots={sizes.unlabelled}" if sizes.unlabelled else ""
            raise ValueError(
                f"{dataset.name}: {usable} of {dataset.classes} classes have the {shots + sizes.beside} examples "
                f"{take} take (class {dataset.class_names[smallest]!r} has "
                f"{int(dataset.counts[smallest])}), expected at least ways={ways} such classes; lower shots or queries"
            )

    def choose(self, usable: Tensor, ways: int, generator: Generator) -> Tensor:
        """The classes [ways] of a task among the ``usable`` ones."""
        return usable[torch.randperm(len(usable), generator=generator)[:ways]]

    def rows(self, dataset: Dataset, classes: Tensor) -> Sequence[Tensor]:
        """The rows of ``dataset`` that are in the pool of a task of ``classes``, class by class, int64."""
        return [dataset.rows_by_class[c] for c in classes.tolist()]

    def labels(self, labels: Tensor, generator: Generator) -> Tensor:
        """The labels [n] of a task's pool, int64, given for each example its place in ``rows``: by default that."""
        return labels

    def pick(self, task: Task, generator: Generator, shots: int, queries: int) -> Picked:
        """The rows of an episode, as many of each label, none twice. Raises ValueError for a label with too few."""
        fewest = min(len(rows) for rows in task.members)
        if min(shots, queries) < 1 or shots + queries > fewest:
            raise ValueError(
                f"{task.dataset.name}: got {shots} shots and {queries} queries, expected 1 or more of each and at most "
                f"{fewest} together, the examples of the smallest class"
            )
        drawn = torch.stack(
            [rows[torch.randperm(len(rows), generator=generator)[: shots + queries]] for rows in task.members]
        )
        support, query = (in_random_order(part, generator) for part in (drawn[:, :shots], drawn[:, shots:]))
        return Picked(*support, *query)

    def episode(self, task: Task, picked: Picked, generator: Generator, device: torch.device | None) -> Episode:
        """The inputs of what was picked, on ``device``: by default as the task shows them."""
        support_x, query_x = (task.shown(rows, generator, device) for rows in (picked.support, picked.query))
        return Episode(support_x, picked.support_y, query_x, picked.query_y)


def inputs_alone(dataset: Dataset, encoder: str) -> Tensor:
    """The ``Features`` of who has no encoders: ``inputs`` are the data set's own. Raises ValueError for others."""
    if encoder != "inputs":
        raise ValueError(f"{dataset.name}: got encoder {encoder!r}, expected inputs, where no features are given")
    return dataset.x


def labelled(
    dataset: Dataset, labeller: Labeller, fewest: int, generator: Generator, features: Features = inputs_alone
) -> tuple[Dataset, ...]:
    """What ``labeller`` makes of ``dataset``, whose labels are hidden from one that sees none. Raises as that does."""
    given = dataset if labeller.sees_labels else without_labels(dataset)
    return tuple(labeller.datasets(given, features, fewest, generator))
