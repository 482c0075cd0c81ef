"""Training an encoder without labels: reconstruction, and on request a critic of interpolations (ACAI).

Berthelot et al. (2019), "Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer",
section 3: the critic d tells from an image how far it lies between two others; the autoencoder hides it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from evaluation.encoders.conv_autoencoder import ConvDecoder, ConvEncoder, ConvShape, start_at_random

JUDGED = 2048
"""At most so many training examples, drawn at random, give the reconstruction loss that is reported."""


@dataclass(frozen=True)
class EncoderSettings:
    """How an encoder is trained. Raises ValueError for numbers that make no sense."""

    code: int = 64
    """E, the axes of the code."""
    channels: int = 16
    """Of the first layer; those above it have up to four times as many."""
    steps: int = 2000
    batch: int = 64
    learning_rate: float = 3e-3
    """Of Adam, at the start; it falls linearly to 0."""
    critic: bool = False
    """Whether interpolations are to look like reconstructions."""
    interpolation_weight: float = 0.125
    """λ, how much that counts beside reconstruction. The authors use 0.5, for images in [-1, 1], whose errors are four
    times as large."""
    blend: float = 0.2
    """γ, the share of the image in its blend with its reconstruction, which the critic learns to call 0."""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch < 2:
            raise ValueError(f"got {self.steps} steps of {self.batch} examples, expected 0 or more of 2 or more")
        if self.learning_rate <= 0 or self.interpolation_weight < 0 or not 0 <= self.blend <= 1:
            raise ValueError(
                f"got learning_rate={self.learning_rate}, interpolation_weight={self.interpolation_weight} and "
                f"blend={self.blend}, expected a rate above 0, a weight of 0 or more and a share of 0 to 1"
            )


class Losses(NamedTuple):
    """What one batch gives to learn from."""

    autoencoder: Tensor  # mean squared error a pixel, plus λ d² of interpolations where there is a critic
    critic: Tensor | None  # squared error of its α, plus d² of blended reconstructions


def train_encoder(
    x: Tensor,
    image_shape: tuple[int, ...],
    settings: EncoderSettings,
    generator: Generator,
    progress: Callable[[int], None] = lambda step: None,
) -> tuple[ConvEncoder, float]:
    """An encoder of images ``x`` [n, D] in [0, 1], and the mean squared error a pixel of its reconstructions.

    ``progress`` is called after each step. Raises ValueError for what is no image shape and for training that diverges.
    """
    shape = ConvShape(image_shape, settings.code, settings.channels)
    encoder, decoder = ConvEncoder(shape), ConvDecoder(shape)
    critic = ConvEncoder(ConvShape(image_shape, 1, settings.channels)) if settings.critic else None
    networks = [network for network in (encoder, decoder, critic) if network is not None]
    for network in networks:
        start_at_random(network, generator)
    own = [*encoder.parameters(), *decoder.parameters()]
    judge = [] if critic is None else [*critic.parameters()]
    optimiser = torch.optim.Adam([*own, *judge], lr=settings.learning_rate, fused=True)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1 - step / settings.steps)
        batch = x[torch.randint(len(x), (settings.batch,), generator=generator)]
        losses = batch_losses(encoder, decoder, critic, batch, settings, generator)
        optimiser.zero_grad()
        if losses.critic is not None:  # each loss moves its own networks, from one forward pass
            losses.critic.backward(inputs=judge, retain_graph=True)
        losses.autoencoder.backward(inputs=own)
        optimiser.step()
        progress(step)
    some = x[torch.randperm(len(x), generator=generator)[:JUDGED]]
    with torch.no_grad():
        loss = float((decoder(encoder.embed(some)) - some).square().mean())
    if not loss < float("inf"):
        raise ValueError(f"training diverged at learning_rate={settings.learning_rate}, take a lower one")
    return encoder, loss


def batch_losses(
    encoder: nn.Module,
    decoder: nn.Module,
    critic: nn.Module | None,
    x: Tensor,
    settings: EncoderSettings,
    generator: Generator,
) -> Losses:
    """The losses of a batch ``x`` [B, D] (Berthelot et al., 2019, equations 1 to 3), each a mean over it."""
    code = encoder(x)
    said = decoder(code)
    reconstruction = (said - x).square().mean()
    if critic is None:
        return Losses(reconstruction, None)
    alpha = torch.rand(len(x), 1, generator=generator) / 2
    seen = critic(decoder(code + alpha * (code.flip(0) - code)))
    blended = critic((said + settings.blend * (x - said)).detach())
    critic_loss = (seen - alpha).square().mean() + blended.square().mean()
    return Losses(reconstruction + settings.interpolation_weight * seen.square().mean(), critic_loss)
