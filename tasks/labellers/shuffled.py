"""Labels dealt out at random: a control from which nothing can be learned."""

import torch
from torch import Generator, Tensor

from tasks.labellers.contract import Labeller


class ShuffledLabels(Labeller):
    """Of the classes of the data set the sizes alone: which example has which label is drawn anew for every task."""

    settings = "shuffled"

    def labels(self, labels: Tensor, generator: Generator) -> Tensor:
        """The class labels [n] dealt out over the examples: episodes stay as balanced as with the true labels."""
        return labels[torch.randperm(len(labels), generator=generator)]
