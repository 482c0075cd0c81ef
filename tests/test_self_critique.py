"""SCA: what its last steps descend along, that the critic learns, and that no query label reaches it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_few_shot import blobs
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
from torch.func import grad

from evaluation.paired_tasks import paired_tasks
from evaluation.protocol import Use
from evaluation.rules import RuleMethod
from inner_loop.networks.conv4 import Conv4, Conv4s
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of, unroll
from outer_loop.readouts.head import Head
from update_rules.contract import Problem, Rule, State
from update_rules.gradient.learned_start import layout
from update_rules.gradient.losses import QUERIES, Seen
from update_rules.gradient.maml import Maml
from update_rules.gradient.self_critique import CRITICS, SelfCritique

ALL = ("predictions", "features", "task")


def sca(network: Conv4 = STRIDE, **options: Any) -> SelfCritique:
    return SelfCritique(layout(network.shapes), **({"rate": 0.25, "steps": 2} | options)).double()


def task_of(rule: Rule, network: Conv4 = STRIDE, steps: int = 3, seed: int = 0) -> Any:
    """An unroll of ``steps`` steps, read at its end."""
    return one_task(rule, network, seed, reads=(steps,))


def views_of(given: Any) -> dict[str, torch.Tensor]:
    return {name: view[0] for name, view in given.views.items()}


def run(rule: Rule, given: Any, steps: int) -> State:
    state, views = given.carried, views_of(given)
    for phase in rule.phases(steps):
        for _ in range(phase.steps):
            state = rule.step(given.problem, state, {name: views[name] for name in phase.views}, phase.name)
    return state


@pytest.mark.parametrize("normalisation", ["batch", "support"])
@pytest.mark.parametrize("critic", CRITICS)
def test_a_critic_step_is_a_step_against_the_gradient_of_its_loss_at_the_weights_as_they_are(
    critic: str, normalisation: str
) -> None:
    """Two steps: the second has predictions of its own."""
    rule = sca(critic=critic, critic_steps=2, critic_rate=0.3, sees=ALL)
    given = task_of(rule, steps=4)
    problem = replace(given.problem, normalisation=normalisation)
    views, network = views_of(given), problem.network
    state = given.carried
    fixed = {name: value.detach() for name, value in rule.start.items()}

    def loss(moved: State) -> torch.Tensor:
        weights = {name: value + moved[name] if name in moved else value for name, value in fixed.items()}
        of_support = network.forward(weights, views["support_x"])
        by = of_support.statistics() if normalisation == "support" else None
        of_query = network.forward(weights, views[QUERIES], by)
        seen = {"support_x": Seen(of_support.z[-1], of_support.x[-2]), QUERIES: Seen(of_query.z[-1], of_query.x[-2])}
        return rule.critic(seen, views)

    for _ in range(2):
        moved = {name: state[name] for name in fixed if name in state}
        slope = grad(loss)(moved)
        state = rule.step(problem, state, views, "critic")
        for name, value in moved.items():
            torch.testing.assert_close(state[name], value - 0.3 * slope[name])
    assert (float(state["t"]), float(state["critic_t"])) == (2, 2)


@pytest.mark.parametrize("normalisation", ["batch", "support"])
@pytest.mark.parametrize(("network", "steps"), [(STRIDE, 1), (MAX, 3)])
def test_the_meta_gradient_of_the_critic_equals_finite_differences(
    network: Conv4, steps: int, normalisation: str
) -> None:
    rule = sca(network, critic_steps=steps, sees=ALL, per_step_normalisation=True)
    draw = shaken(rule)
    given = task_of(rule, network, steps + 2)
    given = replace(given, problem=replace(given.problem, normalisation=normalisation))
    found = assert_the_meta_gradient_is_the_slope(rule, given, estimator_of(Head(), normalisation), draw)
    assert all(float(found[f"critic.{name}"].abs().max()) > 0 for name, _ in rule.critic.named_parameters())


def test_the_critic_learns_in_outer_steps_of_first_order_too() -> None:
    rule = sca(first_order=1)
    given, estimator = [task_of(rule)], estimator_of(Head())
    first, second = (estimator.estimate(rule, rule.theta_at(step), given, {}).direction for step in (0, 1))
    for name in ("critic.w_in", "critic_rates", "start.w1"):
        assert first[name].abs().max() > 0
    assert not torch.allclose(first["start.w1"], second["start.w1"], rtol=1e-3)


def test_without_critic_steps_it_is_maml_to_the_bit() -> None:
    rule, plain = sca(critic_steps=0), maml(learned_rates=True, steps=2)
    same = {name: value for name, value in rule.state_dict().items() if not name.startswith("critic")}
    plain.load_state_dict(same)
    given, other = (task_of(one, steps=4) for one in (rule, plain))
    found, expected = run(rule, given, 4), run(plain, other, 4)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_fewer_steps_than_the_critics_are_its_own_and_rates_differ_by_kind() -> None:
    rule = sca(critic_steps=2)
    assert [phase.steps for phase in rule.phases(7)] == [5, 2]
    assert [phase.steps for phase in rule.phases(1)] == [0, 1]
    assert [phase.views for phase in rule.phases(7)] == [
        ("support_x", "support_y"),
        ("support_x", "support_y", QUERIES),
    ]
    assert rule.rates is not None
    assert rule.critic_rates is not None
    assert (rule.rates.shape, rule.critic_rates.shape) == ((2, 5), (2, 5))
    assert list(rule.describe()) == ["rate/1", "rate/2", "critic_rate/1", "critic_rate/2"]


@pytest.mark.parametrize("normalisation", ["batch", "support"])
def test_no_query_label_reaches_the_critic(normalisation: str) -> None:
    """Features are the same to the bit under other query labels, and critic steps do something with the queries."""
    rule = SelfCritique(layout(Conv4(5, filters=4, outputs=3).shapes), rate=0.2, sees=ALL)
    method = RuleMethod(rule, Use(Conv4s(filters=4), steps=6, normalisation=normalisation, readout=Head()), (6,))
    tasks = list(paired_tasks(blobs(), 4, seed=0))
    episodes = [task.episode for task in tasks]
    turned = [one._replace(query_y=(one.query_y + 1) % 3) for one in episodes]
    others = [one._replace(query_x=one.query_x.flip(1)) for one in episodes]
    found, relabelled, elsewhere = (method.learn(tasks, some)[0] for some in (episodes, turned, others))
    for task, one, same, other in zip(episodes, found, relabelled, elsewhere, strict=True):
        assert torch.equal(one.features(task.query_x), same.features(task.query_x))
        assert not torch.equal(one.state["w1"], other.state["w1"])


@pytest.mark.parametrize("adapt", [False, True])
def test_scale_and_shift_move_only_where_they_may(adapt: bool) -> None:
    rule = maml(adapt_normalisation=adapt)
    given = task_of(rule, steps=1)
    after = run(rule, given, 1)
    fixed = {f"{kind}{block}" for kind in "gb" for block in range(1, 5)}
    assert fixed - after.keys() == (set() if adapt else fixed)
    assert after["b5"].abs().max() > 0  # the head's bias is no part of a normalisation
    if adapt:
        assert all(after[name].abs().max() > 0 for name in ("g4", "b4"))
    assert rule.weights(STRIDE, after).keys() == STRIDE.shapes.keys()


def test_parameters_of_each_step_are_those_of_their_step() -> None:
    rule = Maml(layout(STRIDE.shapes), steps=2, per_step_normalisation=True)
    assert (rule.start["g1"].shape, rule.start["b5"].shape) == ((3, 3), (3,))
    plain = Maml(layout(STRIDE.shapes), steps=2)
    state = rule.init_state(Problem.of(STRIDE), torch.Generator())
    assert all(
        torch.equal(value, plain.weights(STRIDE, state)[name]) for name, value in rule.weights(STRIDE, state).items()
    )
    with torch.no_grad():
        rule.start["g1"].copy_(torch.tensor([[1.0], [2.0], [3.0]]).expand(3, 3))
    for t, expected in ((0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (9.0, 3.0)):
        assert rule.weights(STRIDE, state | {"t": torch.tensor(t)})["g1"].tolist() == [expected] * 3
    assert rule.embedder(Problem.of(STRIDE)) is not None
    few = replace(STRIDE, outputs=2)
    assert rule.started(few, state)["w5"].shape == (3, 2)


def test_tasks_at_once_are_tasks_alone() -> None:
    rule = sca(sees=ALL, per_step_normalisation=True)
    given = [task_of(rule, seed=seed) for seed in range(2)]
    views = {name: torch.stack([one.views[name] for one in given], 1) for name in rule.consumes}
    with torch.no_grad():
        together = unroll(
            rule, theta_of(rule), given[0].problem, stack_states([one.carried for one in given]), views, read_points=[3]
        )[0]
        for place, one in enumerate(given):
            for name, value in run(rule, one, 3).items():
                torch.testing.assert_close(together[name][place], value)
    assert double_start(rule, given[0].problem).keys() == together.keys()
