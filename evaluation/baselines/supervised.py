"""The base network trained by gradient descent on the support set: what the same few labels give by themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.networks import dense_network
from evaluation.baselines.settings import SupervisedSettings
from evaluation.baselines.stacked_training import (
    Draws,
    Parameters,
    affine,
    encoder_embeddings,
    minimise,
    network_parameters,
    part,
)
from evaluation.method import Fitted, Method
from evaluation.paired_tasks import PairedTask
from evaluation.protocol import Use
from tasks.task import Episode


@dataclass(frozen=True)
class Supervised(Method):
    """The last layer of the base network under a linear head, trained on the whole support set at every step."""

    inner: Use
    settings: SupervisedSettings
    uses_episodes: ClassVar[bool] = True

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """One read of the networks trained on the support sets; queries are not looked at."""
        settings, draws, network = (
            self.settings,
            Draws.of(tasks, self.inner.device),
            dense_network(tasks[0], self.inner),
        )
        linear, ways = settings.code == "linear", tasks[0].task.ways
        start = network_parameters("encoder", network.sizes, draws)
        start |= network_parameters("head", (network.sizes[-1], ways), draws)
        x = draws.stacked(episode.support_x for episode in episodes)
        y = draws.stacked(episode.support_y for episode in episodes)

        def loss(parameters: Parameters) -> Tensor:
            seen = x.masked_fill(draws.below(settings.dropped, *x.shape[1:]), 0.0) if settings.dropped else x
            code = network.forward(part(parameters, "encoder"), seen)
            scores = affine(part(parameters, "head"), code.z[-1] if linear else code.x[-1])
            return F.cross_entropy(scores.mT, y, reduction="none").mean(1)

        trained = minimise(
            start,
            loss,
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        return [encoder_embeddings(network, part(trained, "encoder"), tasks, linear=linear)]
