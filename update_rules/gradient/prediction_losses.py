"""Losses of predictions alone, by the names that rules' options have for them."""

from collections.abc import Sequence

from update_rules.gradient.critic import Critic
from update_rules.gradient.losses import Entropy, PseudoLabels, Unlabelled

BY_HAND: dict[str, type[Unlabelled]] = {"entropy": Entropy, "pseudo_labels": PseudoLabels}

PREDICTION_LOSSES = ("critic", "frozen_critic", *BY_HAND)
"""A learned critic; the same as it is drawn; and two losses by hand."""


def prediction_loss(name: str, of: str, features: int, ways: int, seed: int, sees: Sequence[str]) -> Unlabelled:
    """The loss ``name``, of PREDICTION_LOSSES, of the view ``of``; the rest is that of ``Critic``, which may raise."""
    if name in BY_HAND:
        return BY_HAND[name](of)
    return Critic(features, ways, seed, sees, frozen=name == "frozen_critic", of=of)
