"""An encoder of the base network's architecture that learns to tell examples apart, with no augmentation of images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.settings import ContrastiveSettings
from evaluation.baselines.stacked_training import Batches, Draws, Encoder, Parameters, Training, affine, weights
from inner_loop.networks.mlp import MLP
from tasks.task import Episode


class Contrastive(Encoder):
    """The encoder of SCARF (Bahri et al., 2022): an example is to be found by its corrupted copy among those of others.

    The copy has a share of its inputs replaced by the same inputs of random examples, that is, draws from the
    marginals. A head of one hidden layer, which the features do without, stands between the encoder and InfoNCE.
    """

    settings: ContrastiveSettings

    def objective(self, network: MLP, draws: Draws, batches: Batches, episodes: Sequence[Episode]) -> Training:
        """The head, and the cross-entropy of telling which example a copy is of."""
        settings, width = self.settings, (network.sizes[-1], network.sizes[-1])
        head = weights("hidden", width, draws) | weights("head", width, draws)

        def place(parameters: Parameters, x: Tensor) -> Tensor:
            hidden = torch.relu(affine(parameters, "hidden", self.code(network, parameters, x)))
            return F.normalize(affine(parameters, "head", hidden), dim=-1)

        def loss(parameters: Parameters) -> Tensor:
            x = next(batches)
            rows, columns = x.shape[1:]
            examples = torch.arange(rows, device=x.device)
            others = (examples[:, None] + 1 + draws.whole(rows - 1, 1, columns)) % rows  # never the example itself
            marginal = torch.gather(x, 1, others)
            copies = torch.where(draws.below(settings.corrupted, rows, columns), marginal, x)
            alike = place(parameters, copies) @ place(parameters, x).mT / settings.temperature
            return F.cross_entropy(alike.mT, examples.expand(len(x), -1), reduction="none").mean(1)

        return head, loss
