"""Losses of inner steps: known answers, and a critic that treats classes and examples alike."""

from math import log

import pytest
import torch
from torch import Tensor

from update_rules.contract import SUPPORT
from update_rules.gradient.critic import CONDITIONS, Critic
from update_rules.gradient.losses import QUERIES, CrossEntropy, Entropy, Loss, PseudoLabels, Seen

WAYS, FEATURES = 3, 4


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seen_of(loss: Loss, logits: Tensor, features: Tensor | None = None) -> dict[str, Seen]:
    """The same predictions for each view that ``loss`` reads."""
    return {view: Seen(logits, draw(len(logits), FEATURES) if features is None else features) for view in loss.reads}


def test_hand_written_losses_against_numbers() -> None:
    sure, unsure = torch.tensor([[50.0, 0.0], [0.0, 50.0]]), torch.zeros(2, 2)
    y = torch.tensor([0, 0])
    views = {SUPPORT[1]: y}
    for loss, of_sure, of_unsure in (
        (Entropy(), 0.0, log(2)),
        (PseudoLabels(), 0.0, log(2)),
        (CrossEntropy(), 25.0, log(2)),
    ):
        assert float(loss(seen_of(loss, sure), views)) == pytest.approx(of_sure, abs=1e-6)
        assert float(loss(seen_of(loss, unsure), views)) == pytest.approx(of_unsure)


@pytest.mark.parametrize("loss", [Entropy(), PseudoLabels()], ids=["entropy", "pseudo_labels"])
def test_descending_makes_predictions_surer(loss: Loss) -> None:
    logits = draw(5, WAYS).requires_grad_()
    (slope,) = torch.autograd.grad(loss(seen_of(loss, logits), {}), logits)
    likeliest = logits.argmax(1, keepdim=True)
    assert (slope.gather(1, likeliest) < 0).all()
    torch.testing.assert_close(slope.sum(1), torch.zeros(5, dtype=torch.float64))


def judged(critic: Critic, logits: Tensor, features: Tensor, support: Tensor, y: Tensor) -> Tensor:
    nothing = torch.zeros(len(support), WAYS, dtype=torch.float64)
    seen = {QUERIES: Seen(logits, features), SUPPORT[0]: Seen(nothing, support)}
    return critic(seen, {SUPPORT[1]: y})


@pytest.mark.parametrize("sees", [CONDITIONS[:1], CONDITIONS[:3]], ids=["predictions", "all"])
def test_a_critic_treats_classes_and_examples_alike_and_takes_means(sees: tuple[str, ...]) -> None:
    critic = Critic(FEATURES, WAYS, sees=sees).double()
    logits, features, support, y = (
        draw(5, WAYS),
        draw(5, FEATURES, seed=1),
        draw(6, FEATURES, seed=2),
        torch.arange(6) % 3,
    )
    found = judged(critic, logits, features, support, y)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(judged(critic, logits[:, order], features, support, order.argsort()[y]), found)
    turned = torch.tensor([4, 2, 0, 1, 3])
    torch.testing.assert_close(judged(critic, logits[turned], features[turned], support, y), found)
    torch.testing.assert_close(judged(critic, logits.repeat(2, 1), features.repeat(2, 1), support, y), found)
    torch.testing.assert_close(judged(critic, logits + 7, features, support, y), found)
    others = (judged(critic, logits, 2 * features, support, y), judged(critic, logits, features, 2 * support, y))
    assert [bool(torch.equal(other, found)) for other in others] == [len(sees) == 1] * 2


def test_one_critic_serves_any_number_of_ways() -> None:
    critic = Critic(FEATURES, WAYS)
    for ways in (2, 7):
        logits = torch.randn(4, ways, generator=torch.Generator().manual_seed(ways))
        assert critic(seen_of(critic, logits), {}).isfinite()


def test_a_frozen_critic_is_the_same_and_has_nothing_to_learn() -> None:
    learned, frozen = Critic(FEATURES, WAYS, seed=1), Critic(FEATURES, WAYS, seed=1, frozen=True)
    logits = torch.randn(4, WAYS, generator=torch.Generator().manual_seed(0))
    assert torch.equal(learned(seen_of(learned, logits), {}), frozen(seen_of(frozen, logits), {}))
    assert (list(frozen.parameters()), len(list(learned.parameters()))) == ([], 7)
    assert learned.state_dict().keys() == frozen.state_dict().keys()


def test_an_unknown_condition_is_named() -> None:
    with pytest.raises(
        ValueError, match="got a critic that sees labels, expected predictions, features, task, classes"
    ):
        Critic(FEATURES, WAYS, sees=("predictions", "labels"))
