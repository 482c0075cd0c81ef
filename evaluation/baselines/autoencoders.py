"""Encoders of the base network's architecture that learn to reconstruct: a denoising and a variational autoencoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.settings import AutoencoderSettings, VaeSettings
from evaluation.baselines.stacked_training import Batches, Draws, Encoder, Parameters, Training, affine, part, weights
from inner_loop.networks.mlp import MLP
from tasks.task import Episode


class Autoencoder(Encoder):
    """The code of an autoencoder whose decoder mirrors the encoder (Vincent et al., 2008, for inputs dropped)."""

    settings: AutoencoderSettings

    def objective(self, network: MLP, draws: Draws, batches: Batches, episodes: Sequence[Episode]) -> Training:
        """The decoder, and how far it is from the inputs."""
        decoder = Decoder.mirror(network)

        def loss(parameters: Parameters) -> Tensor:
            x = next(batches)
            said = decoder(parameters, self.code(network, parameters, draws.dropped(self.settings.dropped, x)))
            return reconstruction_loss(said, x, self.settings.likelihood).mean(1)

        return decoder.parameters(draws), loss


class Vae(Encoder):
    """The posterior mean of a variational autoencoder (Kingma and Welling, 2014): the encoder's last pre-activation."""

    settings: VaeSettings

    def objective(self, network: MLP, draws: Draws, batches: Batches, episodes: Sequence[Episode]) -> Training:
        """The decoder and the map to log variances, and the negative evidence lower bound."""
        decoder = Decoder.mirror(network)
        beside = decoder.parameters(draws)
        spread = weights("spread", network.sizes[-2:], draws)
        beside |= {name: 0.1 * value for name, value in spread.items()}

        def loss(parameters: Parameters) -> Tensor:
            x = next(batches)
            code = network.forward(part(parameters, "encoder"), x)
            mean, log_variance = code.z[-1], affine(parameters, "spread", code.x[-2])
            noise = draws.normal(*mean.shape[1:])
            said = decoder(parameters, mean + torch.exp(0.5 * log_variance) * noise)
            divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(-1)
            misfit = reconstruction_loss(said, x, self.settings.likelihood)
            return (misfit + self.settings.beta * divergence).mean(1)

        return beside, loss


@dataclass(frozen=True)
class Decoder:
    """The hidden layers of an encoder in reverse order, and a last layer without normalisation or activation."""

    hidden: MLP | None
    last: tuple[int, int]

    @classmethod
    def mirror(cls, encoder: MLP) -> "Decoder":
        """The decoder of ``encoder``; a single layer where that has no hidden ones. Raises ValueError for no MLP."""
        if not isinstance(encoder, MLP):
            raise ValueError(f"got a network {encoder.kind}, expected mlp, whose layers an autoencoder has in reverse")
        sizes = encoder.sizes[::-1]
        hidden = MLP(sizes[:-1], encoder.hidden_activation) if len(sizes) > 2 else None
        return cls(hidden, (sizes[-2], sizes[-1]))

    def parameters(self, draws: Draws) -> Parameters:
        """Its stacked parameters at the start."""
        hidden = {} if self.hidden is None else weights("decoder", self.hidden.sizes, draws)
        return hidden | weights("said", self.last, draws)

    def __call__(self, parameters: Parameters, code: Tensor) -> Tensor:
        """What it makes of ``code`` [T, B, N]: logits or values [T, B, D]."""
        if self.hidden is not None:
            code = self.hidden.forward(part(parameters, "decoder"), code).x[-1]
        return affine(parameters, "said", code)


def reconstruction_loss(said: Tensor, x: Tensor, likelihood: str) -> Tensor:
    """How far ``said`` is from ``x`` [T, B, D], summed over inputs: squared error or minus log likelihood, [T, B].

    The Bernoulli likelihood takes ``said`` for logits; a task of inputs outside [0, 1] gets the squared error.
    """
    if likelihood == "squared":
        return (said - x).square().sum(-1)
    shares = (x.amin((1, 2)) >= 0) & (x.amax((1, 2)) <= 1)
    bernoulli = (F.softplus(said) - x * said).sum(-1)
    return bernoulli if shares.all() else torch.where(shares[:, None], bernoulli, (said - x).square().sum(-1))
