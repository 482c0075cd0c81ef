"""The base network trained by gradient descent on the support set: what the same few labels give by themselves."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.settings import SupervisedSettings
from evaluation.baselines.stacked_training import Batches, Draws, Encoder, Parameters, Training, affine, weights
from inner_loop.networks.mlp import MLP
from tasks.task import Episode


class Supervised(Encoder):
    """The last layer of the base network under a linear head, trained on the whole support set at every step."""

    settings: SupervisedSettings
    uses_episodes: ClassVar[bool] = True

    def objective(self, network: MLP, draws: Draws, batches: Batches, episodes: Sequence[Episode]) -> Training:
        """The head, and the cross-entropy of the support sets' classes; queries are not looked at."""
        x = draws.stacked(episode.support_x for episode in episodes)
        y = draws.stacked(episode.support_y for episode in episodes)

        def loss(parameters: Parameters) -> Tensor:
            code = self.code(network, parameters, draws.dropped(self.settings.dropped, x))
            scores = affine(parameters, "head", code)
            return F.cross_entropy(scores.mT, y, reduction="none").mean(1)

        return weights("head", (network.sizes[-1], int(y.max()) + 1), draws), loss
