"""Classes that are the same few examples in every task, whose augmentations are the queries: plain classification."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from tasks.dataset import Dataset
from tasks.labellers.contract import Features
from tasks.labellers.instances import Instances
from tasks.task import Task


class FixedInstances(Instances):
    """As ``Instances``, but the examples are drawn once a run, and each keeps its label."""

    def datasets(self, dataset: Dataset, features: Features, fewest: int, generator: Generator) -> Iterable[Dataset]:
        """``dataset`` in a random order, whose first examples are the classes."""
        order = torch.randperm(len(dataset), generator=generator)
        group = None if dataset.group is None else dataset.group[order]
        return (replace(dataset, x=dataset.x[order], y=dataset.y[order], group=group),)

    def drawn(self, task: Task, examples: int, generator: Generator) -> Tensor:
        """The first ``examples``."""
        return task.pool[:examples]
