"""Semi-supervised MAML: what its steps descend along, with labels and without, and what it is blind to."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_gradient_descent import (
    MAX,
    STRIDE,
    assert_the_meta_gradient_is_the_slope,
    double_start,
    estimator_of,
    maml,
    one_task,
    shaken,
)
from test_self_critique import run, views_of
from torch.func import grad

from inner_loop.networks.conv4 import Conv4
from outer_loop.readouts.head import Head
from update_rules.contract import State
from update_rules.gradient.learned_start import layout
from update_rules.gradient.losses import UNLABELLED_SET, CrossEntropy, Seen
from update_rules.gradient.semi_supervised_maml import LOSSES, SemiSupervisedMaml

ALL = ("predictions", "features", "task", "classes")


def semi(network: Conv4 = STRIDE, **options: Any) -> SemiSupervisedMaml:
    return SemiSupervisedMaml(layout(network.shapes), **({"rate": 0.25, "steps": 2} | options)).double()


@pytest.mark.parametrize("normalisation", ["batch", "support"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_is_against_the_gradient_of_both_losses(loss: str, normalisation: str) -> None:
    rule = semi(loss=loss, weight=0.5, sees=ALL)
    given = one_task(rule, STRIDE, reads=(1,))
    problem, views = replace(given.problem, normalisation=normalisation), views_of(given)
    fixed = {name: value.detach() for name, value in rule.start.items()}
    moved = {name: given.carried[name] for name in fixed if name in given.carried}

    def total(moved: State) -> torch.Tensor:
        weights = {name: value + moved[name] if name in moved else value for name, value in fixed.items()}
        of_support = STRIDE.forward(weights, views["support_x"])
        by = of_support.statistics() if normalisation == "support" else None
        of_set = STRIDE.forward(weights, views[UNLABELLED_SET], by)
        seen = {"support_x": of_support, UNLABELLED_SET: of_set}
        seen = {name: Seen(one.z[-1], one.x[-2]) for name, one in seen.items()}
        found = CrossEntropy()(seen, views)
        return found if rule.unlabelled_loss is None else found + 0.5 * rule.unlabelled_loss(seen, views)

    slope, (phase,) = grad(total)(moved), rule.phases(1)
    after = rule.step(problem, given.carried, {name: views[name] for name in phase.views}, phase.name)
    for name, value in moved.items():
        torch.testing.assert_close(after[name], value - 0.25 * slope[name])


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("network", [STRIDE, MAX])
def test_the_meta_gradient_equals_finite_differences(network: Conv4, labels: bool) -> None:
    rule = semi(network, labels=labels, sees=[one for one in ALL if labels or one != "task"])
    draw = shaken(rule)
    given = one_task(rule, network, reads=(2,))
    found = assert_the_meta_gradient_is_the_slope(rule, given, estimator_of(Head()), draw)
    assert all(float(value.abs().max()) > 0 for value in found.values())


def test_without_labels_no_step_sees_one() -> None:
    rule = semi(labels=False, sees=("predictions", "features", "classes"))
    given = one_task(rule, STRIDE, reads=(2,))
    assert [phase.views for phase in rule.phases(2)] == [(UNLABELLED_SET,)]
    turned = {**given.views, "support_x": given.views["support_x"] + 1, "support_y": given.views["support_y"].flip(1)}
    one, other = run(rule, given, 2), run(rule, replace(given, views=turned), 2)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one["w1"].abs().max() > 0


def test_without_a_loss_of_its_own_it_is_maml_or_stays() -> None:
    rule, plain = semi(loss="none"), maml(learned_rates=True, steps=2)
    plain.load_state_dict(rule.state_dict())
    given, other = (one_task(one, STRIDE, reads=(3,)) for one in (rule, plain))
    found, expected = run(rule, given, 3), run(plain, other, 3)
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    still = semi(loss="none", labels=False)
    after = run(still, one_task(still, STRIDE, reads=(3,)), 3)
    assert all(not value.any() for name, value in after.items() if name != "t")


def test_what_cannot_be_is_named() -> None:
    for options, message in (
        ({"loss": "labels"}, "got loss 'labels' for the semi_supervised_maml rule, expected one of critic, frozen_"),
        ({"labels": False, "sees": ("task",)}, "that sees the task, expected labels for its classes"),
        ({"weight": 0.0}, "got weight 0.0 for the semi_supervised_maml rule, expected a positive number"),
    ):
        with pytest.raises(ValueError, match=message):
            semi(**options)
    rule = semi(sees=ALL)
    few = replace(STRIDE, outputs=2)
    given = one_task(rule, STRIDE, reads=(1,))
    problem = replace(given.problem, network=few, ways=2)
    views = views_of(given) | {"support_y": given.views["support_y"][0].clamp(max=1)}
    with pytest.raises(
        ValueError, match="got tasks of 2 ways for a critic that tells 3 classes apart; take tasks of as"
    ):
        rule.step(problem, double_start(rule, problem), views, "train")
