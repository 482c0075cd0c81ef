"""Few-shot tasks drawn from data sets: sampler × labeller × input permutation and changes of images."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Generator, Tensor

from common.draws import uniform_int
from tasks.augmentations import parse_augmentation
from tasks.dataset import Dataset
from tasks.labellers.contract import Labeller, Sizes
from tasks.labellers.registry import DEFAULT, LABELLERS
from tasks.task import Task, TaskShape


@dataclass(frozen=True, eq=False)
class TaskSource:
    """Draws tasks of ``ways`` classes from ``datasets``, whose widths may differ.

    ``datasets`` are what ``labelled`` gives for the ``labeller``, which says what classes are usable; by default those
    with ``shots + queries`` examples or more. ``permute`` gives each task its own fixed permutation of the inputs. What
    may vary from task to task: with ``fewest_ways`` or ``fewest_shots`` their number is drawn from there to ``ways`` or
    ``shots``, as far as the data set has as many, but at least two ways; with ``inputs`` = (fewest, most) a task keeps
    a random choice of so many inputs. ``parts`` counts the data sets that come from one place (tables of a collection,
    sizes of an image): each part is equally likely. Images go through ``redraw``, a text for ``parse_augmentation``,
    whenever they are drawn; other data stay as they are. Unless it is ``transductive``, unlabelled batches leave out
    the queries of the episode that they go with. A set without labels has ``unlabelled_shots`` examples of each class
    of a task, and of ``distractors`` other classes. The views ``swapped`` come from another task, as a control. Raises
    ValueError for no data sets, ways below 2, shots or queries below 1, an unknown augmentation, labels that the
    labeller may not see, and what ``Labeller.check`` refuses.
    """

    datasets: tuple[Dataset, ...]
    ways: int
    shots: int
    queries: int
    permute: bool
    labeller: Labeller = field(default_factory=lambda: LABELLERS.make(DEFAULT, {}))
    fewest_ways: int | None = None
    fewest_shots: int | None = None
    inputs: tuple[int, int] | None = None
    parts: tuple[int, ...] = ()
    redraw: str = "identity"
    transductive: bool = True
    unlabelled_shots: int = 0
    distractors: int = 0
    swapped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ValueError("got no data sets, expected at least one")
        if min(self.sizes.ways) < 2:
            raise ValueError(
                f"got ways={self.ways}, expected 2 or more: a task with one class has nothing to tell apart"
            )
        self._check_sizes()
        parse_augmentation(self.redraw)  # refuse what it cannot read before anything is drawn
        for dataset in self.datasets:
            if dataset.labelled and not self.labeller.sees_labels:
                raise ValueError(
                    f"{dataset.name}: got data with labels for {type(self.labeller).__name__}, which sees none, "
                    "expected what tasks.labellers.contract.labelled makes of them"
                )
            self._check(dataset)

    def _check_sizes(self) -> None:
        fewest = self.sizes.shots[0]
        if fewest < 1 or self.queries < 1:
            raise ValueError(f"got shots={fewest} and queries={self.queries}, expected 1 or more of each")

    def _check(self, dataset: Dataset) -> None:
        """Raise ValueError unless tasks can be drawn of ``dataset``."""
        self.labeller.check(dataset, self.sizes)

    @cached_property
    def sizes(self) -> Sizes:
        """How large tasks are; where ways vary, as few as two if a data set has no more."""
        fewest_ways = self.ways if self.fewest_ways is None else min(2, self.fewest_ways)
        fewest_shots = self.shots if self.fewest_shots is None else self.fewest_shots
        return Sizes((fewest_ways, self.ways), (fewest_shots, self.shots), self.queries, self.unlabelled_shots)

    def _usable(self, index: int, shots: int) -> Tensor:
        """The classes of a data set that tasks of ``shots`` shots may have, int64."""
        return self.labeller.usable(self.datasets[index], self.sizes, shots)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the data sets and every setting that decides what is drawn."""
        settings = (self.ways, self.shots, self.queries, self.permute, self.labeller.settings)
        added = [] if self.redraw == "identity" else [self.redraw]  # later, so that others keep their fingerprints
        added += [] if self.transductive else ["not transductive"]
        of_set = (self.unlabelled_shots, self.distractors, self.swapped)
        added += [repr(of_set)] if any(of_set) else []
        varying = (self.fewest_ways, self.fewest_shots, self.inputs, self.parts, *added)
        digest = hashlib.sha256(repr((settings, varying)).encode())
        for dataset in self.datasets:
            digest.update(self.labeller.identity(dataset).encode())
        return digest.hexdigest()

    def draw_shape(self, generator: Generator) -> TaskShape:
        """A part uniformly, one of its data sets uniformly, then what varies: shots, ways and the number of inputs."""
        index = self._draw_index(generator)
        shots, ways, inputs = self.shots, self.ways, self.datasets[index].inputs
        if self.fewest_shots is not None:
            fewest_ways = self.sizes.ways[0]
            enough = [s for s in range(self.fewest_shots, shots + 1) if len(self._usable(index, s)) >= fewest_ways]
            shots = uniform_int((self.fewest_shots, enough[-1]), generator)
        if self.fewest_ways is not None:
            most = min(ways, len(self._usable(index, shots)))
            ways = uniform_int((min(self.fewest_ways, most), most), generator)
        if self.inputs is not None:
            inputs = uniform_int((min(inputs, self.inputs[0]), min(inputs, self.inputs[1])), generator)
        return TaskShape(index, ways, shots, inputs)

    def _draw_index(self, generator: Generator) -> int:
        if not self.parts:
            return uniform_int((0, len(self.datasets) - 1), generator)
        part = uniform_int((0, len(self.parts) - 1), generator)
        return sum(self.parts[:part]) + uniform_int((0, self.parts[part] - 1), generator)

    def draw(self, generator: Generator, shape: TaskShape | None = None) -> Task:
        """A task of ``shape``, drawn first unless given: classes, then an input permutation, then labels."""
        index, ways, shots, inputs, _ = self.draw_shape(generator) if shape is None else shape
        dataset = self.datasets[index]
        classes = self.labeller.choose(self._usable(index, shots), ways, generator)
        permutation = torch.arange(inputs)
        if self.permute or inputs < dataset.inputs:
            permutation = torch.randperm(dataset.inputs, generator=generator)[:inputs]
        if not self.permute:
            permutation = permutation.sort().values
        return self._labelled(index, classes, permutation, shots, generator)

    def restore(self, state: dict[str, Tensor]) -> Task:
        """The task whose ``state()`` this is. Raises ValueError for a state that another source made."""
        index, classes, shots = int(state["dataset"]), state["classes"], int(state["shots"])
        if not 0 <= index < len(self.datasets):
            raise ValueError(f"got a task of data set {index}, expected 0 to {len(self.datasets) - 1}: other data?")
        dataset = self.datasets[index]
        usable, fewest = set(self._usable(index, shots).tolist()), self.sizes.ways[0]
        if not set(classes.tolist()) <= usable or not fewest <= len(classes) <= self.ways:
            raise ValueError(
                f"{dataset.name}: got a task of classes {classes.tolist()}, expected {fewest} to {self.ways} "
                "classes that all have enough examples: other data or settings?"
            )
        task = self._task(index, classes, state["permutation"], shots, state["labels"])
        if len(task.labels) != len(task.pool) or int(task.permutation.max()) >= dataset.inputs:
            raise ValueError(
                f"{dataset.name}: got a task of {len(task.labels)} examples and {task.inputs} inputs, "
                f"expected {len(task.pool)} and {dataset.inputs}: other data?"
            )
        return task

    def _labelled(self, index: int, classes: Tensor, permutation: Tensor, shots: int, generator: Generator) -> Task:
        """The task of these classes, under labels drawn from ``generator``."""
        places = [len(rows) for rows in self.labeller.rows(self.datasets[index], classes)]
        labels = self.labeller.labels(torch.repeat_interleave(torch.tensor(places)), generator)
        return self._task(index, classes, permutation, shots, labels)

    def _task(self, index: int, classes: Tensor, permutation: Tensor, shots: int, labels: Tensor) -> Task:
        dataset = self.datasets[index]
        return Task(
            dataset=dataset,
            classes=classes,
            permutation=permutation,
            shots=shots,
            queries=self.queries,
            labels=labels,
            pool=torch.cat(list(self.labeller.rows(dataset, classes))),
            labeller=self.labeller,
            dataset_index=index,
            redraw=parse_augmentation(self.redraw),
            transductive=self.transductive,
            unlabelled_shots=self.unlabelled_shots,
            distractors=self.distractors,
            swapped=self.swapped,
            another_task=self._another,
        )

    def _another(self, task: Task, generator: Generator) -> Task:
        """A task of the shape of ``task`` that has no class in common with it, or is of another data set.

        Raises ValueError where there is none.
        """
        index, usable = task.dataset_index, self._usable(task.dataset_index, task.shots)
        free = usable[~torch.isin(usable, task.classes)]
        if self.labeller.same_classes or len(free) < task.ways:
            shape = (task.inputs, task.dataset.image_shape)
            others = [
                place
                for place, dataset in enumerate(self.datasets)
                if place != index and (dataset.inputs, dataset.image_shape) == shape
                if len(self._usable(place, task.shots)) >= task.ways
            ]
            if not others:
                raise ValueError(
                    f"{task.dataset.name}: got swapped={', '.join(self.swapped)}, but no other task to take it from: "
                    f"{len(free)} classes are left, expected {task.ways}"
                )
            index = others[uniform_int((0, len(others) - 1), generator)]
            free = self._usable(index, task.shots)
        classes = self.labeller.choose(free, task.ways, generator)
        return self._labelled(index, classes, task.permutation, task.shots, generator)
