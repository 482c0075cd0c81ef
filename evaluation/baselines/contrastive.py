"""An encoder of the base network's architecture that learns to tell examples apart, with no augmentation of images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.networks import dense_network
from evaluation.baselines.settings import ContrastiveSettings
from evaluation.baselines.stacked_training import (
    Draws,
    Parameters,
    affine,
    encoder_embeddings,
    minimise,
    network_parameters,
    part,
    unlabelled_batches,
)
from evaluation.method import Fitted, Method
from evaluation.paired_tasks import PairedTask
from evaluation.protocol import Use
from tasks.task import Episode


@dataclass(frozen=True)
class Contrastive(Method):
    """The encoder of SCARF (Bahri et al., 2022): an example is to be found by its corrupted copy among those of others.

    The copy has a share of its inputs replaced by the same inputs of random examples, that is, draws from the
    marginals. A head of one hidden layer, which the features do without, stands between the encoder and InfoNCE.
    """

    inner: Use
    settings: ContrastiveSettings

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """One read of the encoders trained on unlabelled examples."""
        settings, draws, network = (
            self.settings,
            Draws.of(tasks, self.inner.device),
            dense_network(tasks[0], self.inner),
        )
        linear, width = settings.code == "linear", (network.sizes[-1], network.sizes[-1])
        start = network_parameters("encoder", network.sizes, draws)
        start |= network_parameters("hidden", width, draws) | network_parameters("head", width, draws)
        batches = unlabelled_batches(tasks, self.inner.batch, draws)

        def place(parameters: Parameters, x: Tensor) -> Tensor:
            code = network.forward(part(parameters, "encoder"), x)
            hidden = torch.relu(affine(part(parameters, "hidden"), code.z[-1] if linear else code.x[-1]))
            return F.normalize(affine(part(parameters, "head"), hidden), dim=-1)

        def loss(parameters: Parameters) -> Tensor:
            x = next(batches)
            rows, columns = x.shape[1:]
            examples = torch.arange(rows, device=x.device)
            others = (examples[:, None] + 1 + draws.whole(rows - 1, 1, columns)) % rows  # never the example itself
            marginal = torch.gather(x, 1, others)
            copies = torch.where(draws.below(settings.corrupted, rows, columns), marginal, x)
            alike = place(parameters, copies) @ place(parameters, x).mT / settings.temperature
            return F.cross_entropy(alike.mT, examples.expand(len(tasks), -1), reduction="none").mean(1)

        trained = minimise(start, loss, steps=settings.steps, learning_rate=settings.learning_rate)
        return [encoder_embeddings(network, part(trained, "encoder"), tasks, linear=linear)]
