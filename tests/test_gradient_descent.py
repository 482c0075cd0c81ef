"""Gradient descent and prototypes: known answers, meta-gradients, the network's blocks, and fewer ways than trained."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from inner_loop.networks.conv4 import Conv4, Conv4s
from inner_loop.networks.mlp import MLP
from inner_loop.networks.registry import describe_network, network_from
from outer_loop.config.schema import Config
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.estimators.truncated_backprop import TruncatedBackprop
from outer_loop.readouts.contract import Readout
from outer_loop.readouts.head import Head
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.objective import Objective
from outer_loop.readouts.prototypes import Prototypes
from outer_loop.schedules import read_weights
from tasks.task import Episode
from update_rules.contract import Network, Problem, Rule, State
from update_rules.gradient.learned_start import initial_weights, layout, parse_layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet

WAYS = 3
STRIDE = Conv4(side=6, channels=2, filters=3, pooling="stride", outputs=WAYS)
MAX = Conv4(side=17, channels=1, filters=2, pooling="max", outputs=WAYS)


def maml(network: Network = STRIDE, **options: float | bool) -> Maml:
    return Maml(layout(network.shapes), **({"rate": 0.25} | options)).double()


def double_start(rule: Rule, problem: Problem) -> State:
    return {name: value.double() for name, value in rule.init_state(problem, torch.Generator()).items()}


def one_task(
    rule: Rule, network: Network, seed: int = 0, reads: tuple[int, ...] = (2,), shots: int = 2
) -> TruncatedUnroll:
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(WAYS).repeat(shots)
    x = torch.rand(2, len(y), network.sizes[0], generator=draw, dtype=torch.float64)
    episode = Episode(x[0], y, x[1], y)
    every = {"support_x": x[0], "support_y": y, "query_x": x[1], "unlabelled_set": x[1].flip(1)}
    problem = Problem.of(network, ways=WAYS)
    return TruncatedUnroll(
        problem=problem,
        carried=double_start(rule, problem),
        views={name: every[name].expand(reads[-1], *every[name].shape) for name in rule.consumes},
        read_points=reads,
        episodes=(episode,) * len(reads),
        ways=WAYS,
        generator=draw,
    )


def estimator_of(readout: Readout, normalisation: str = "batch", *, recompute: bool = True) -> TruncatedBackprop:
    estimator = TruncatedBackprop()
    estimator.configured(Objective(readout, Normalisation(normalisation)), recompute=recompute)
    return estimator


def theta(rule: Rule, **other: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(rule.named_parameters()) | dict(rule.named_buffers()) | other


def assert_the_meta_gradient_is_the_slope(
    rule: Rule, given: TruncatedUnroll, estimator: TruncatedBackprop, draw: torch.Generator
) -> dict[str, torch.Tensor]:
    """The direction of ``estimator``, which along a random one is what finite differences say."""
    found = estimator.estimate(rule, theta(rule), [given], {}).direction
    direction = {name: torch.randn(p.shape, generator=draw, dtype=torch.float64) for name, p in found.items()}

    def loss(size: float) -> float:
        moved = {name: (rule.get_parameter(name) + size * d).detach().requires_grad_() for name, d in direction.items()}
        return estimator.estimate(rule, theta(rule, **moved), [given], {}).meta_loss

    slope = sum(float((found[name] * d).sum()) for name, d in direction.items())
    assert slope == pytest.approx((loss(1e-7) - loss(-1e-7)) / 2e-7, rel=1e-5)
    return found


def shaken(rule: Rule) -> torch.Generator:
    """Moves ``rule`` a little from where it starts, in place, and gives the generator that did."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64), alpha=0.1)
    return draw


def test_one_inner_step_by_hand() -> None:
    network = MLP((4, 3))
    rule, problem = maml(network), Problem.of(network)
    draw = np.random.default_rng(0)
    x, y = draw.random((5, 4)), np.array([0, 1, 2, 1, 1])
    w, b = (rule.start[name].detach().numpy() for name in ("w1", "b1"))
    linear = x @ w
    centred = linear - linear.mean(0)
    scale = 1 / np.sqrt((centred**2).mean(0) + 1e-6)
    logits = centred * scale + b
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    dz = (p - np.eye(3)[y]) / 5  # of the mean cross-entropy over examples
    dl = scale * (dz - dz.mean(0) - centred * scale**2 * (dz * centred).mean(0))
    views = {"support_x": torch.from_numpy(x), "support_y": torch.from_numpy(y)}
    after = rule.step(problem, double_start(rule, problem), views, "train")
    np.testing.assert_allclose(after["w1"].detach().numpy(), -0.25 * x.T @ dl, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(after["b1"].detach().numpy(), -0.25 * dz.sum(0), rtol=1e-9, atol=1e-12)
    assert float(after["t"]) == 1


@pytest.mark.parametrize("normalisation", ["batch", "support"])
@pytest.mark.parametrize(
    ("network", "readout", "reads"),
    [(STRIDE, Head(), (2,)), (STRIDE, Head(), (1, 2)), (MAX, Head(), (2,)), (STRIDE, Prototypes(), (1,))],
)
def test_the_meta_gradient_equals_finite_differences(
    network: Conv4, readout: Readout, reads: tuple[int, ...], normalisation: str
) -> None:
    if readout.reads == "logits":
        rule: Rule = maml(network, learned_rates=True, steps=2)
    else:
        network = network.encoder()
        rule = ProtoNet(layout(network.shapes)).double()
    draw = shaken(rule)
    given = replace(one_task(rule, network, reads=reads), read_weights=(0.25, 0.75) if len(reads) == 2 else None)
    assert_the_meta_gradient_is_the_slope(rule, given, estimator_of(readout, normalisation), draw)


def test_a_batch_of_tasks_is_the_mean_of_tasks_alone() -> None:
    rule = maml(learned_rates=True)
    estimator = estimator_of(Head())
    tasks = [one_task(rule, STRIDE, seed) for seed in range(3)]
    together = estimator.estimate(rule, theta(rule), tasks, {})
    alone = [estimator.estimate(rule, theta(rule), [one], {}) for one in tasks]
    for name, value in together.direction.items():
        mean = torch.stack([one.direction[name] for one in alone]).mean(0)
        torch.testing.assert_close(value, mean, rtol=1e-9, atol=1e-12)
    for state, one in zip(together.carried, alone, strict=True):
        assert state is not None
        assert one.carried[0] is not None
        for name, value in state.items():
            torch.testing.assert_close(value, one.carried[0][name], rtol=1e-9, atol=1e-12)
    kept = estimator_of(Head(), recompute=False).estimate(rule, theta(rule), tasks, {})
    assert all(torch.equal(kept.direction[name], value) for name, value in together.direction.items())


def test_outer_steps_of_pretraining_take_no_inner_steps() -> None:
    rule, estimator = maml(pretraining=1), estimator_of(Head())
    given = [one_task(rule, STRIDE)]
    before, after = (estimator.estimate(rule, rule.theta_at(outer_step), given, {}) for outer_step in (0, 1))
    unmoved, moved = (
        {name: float(value.abs().sum()) for name, value in (one.carried[0] or {}).items()} for one in (before, after)
    )
    assert unmoved["t"] == moved["t"] > 0
    assert not any(value for name, value in unmoved.items() if name != "t")
    assert all(value for name, value in moved.items() if name != "t")
    # What moves the start is the loss of the queries there.
    there = estimator.estimate(rule, theta(rule), [replace(given[0], read_points=(0,))], {})
    for name, value in there.direction.items():
        torch.testing.assert_close(before.direction[name], value)


def test_outer_steps_of_first_order_leave_states_as_they_are_and_second_derivatives_out() -> None:
    rule, estimator = maml(learned_rates=True, first_order=2), estimator_of(Head())
    given = [one_task(rule, STRIDE)]
    first, last, second = (estimator.estimate(rule, rule.theta_at(outer_step), given, {}) for outer_step in (0, 1, 2))
    assert first.carried[0] is not None
    assert all(torch.equal(first.carried[0][name], value) for name, value in (second.carried[0] or {}).items())
    assert first.meta_loss == last.meta_loss == second.meta_loss
    assert all(torch.equal(first.direction[name], value) for name, value in last.direction.items())
    assert not torch.allclose(first.direction["start.w1"], second.direction["start.w1"], rtol=1e-3)
    always = maml(learned_rates=True)
    always.load_state_dict(rule.state_dict())
    for name, value in estimator.estimate(always, always.theta_at(0), given, {}).direction.items():
        assert torch.equal(second.direction[name], value)
    # The gradient of the query loss where the inner steps ended.
    moved = rule.weights(STRIDE, first.carried[0])
    rule.start.load_state_dict({name: value.detach() for name, value in moved.items()})
    there = estimator.estimate(rule, theta(rule), [replace(given[0], read_points=(0,))], {})
    for name, value in there.direction.items():
        if name != "rates":
            torch.testing.assert_close(first.direction[name], value, rtol=1e-9, atol=1e-12)


def test_learned_rates_start_at_the_rate_and_the_last_ones_go_on() -> None:
    rule = maml(learned_rates=True, steps=2)
    same, data = maml(), one_task(rule, STRIDE, reads=(4,))
    problem = data.problem
    views = {name: view[0] for name, view in data.views.items()}
    with torch.no_grad():
        one, other = (each.step(problem, data.carried, views, "train") for each in (rule, same))
        assert all(torch.equal(one[name], value) for name, value in other.items())
        rule.rates.copy_(torch.tensor([[0.25] * 5, [0.125] * 5]))
        for t in (1.0, 2.0, 7.0):
            state = data.carried | {"t": torch.tensor(t)}
            step, whole = (each.step(problem, state, views, "train") for each in (rule, same))
            torch.testing.assert_close(step["w3"], whole["w3"] / 2)
    assert rule.describe() == pytest.approx({"rate/1": 0.25, "rate/2": 0.125})


def test_a_rate_may_be_a_whole_number() -> None:
    whole, same = maml(rate=1), maml(rate=1.0)
    given = one_task(whole, STRIDE)
    views = {name: view[0] for name, view in given.views.items()}
    one, other = (rule.step(given.problem, given.carried, views, "train") for rule in (whole, same))
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_prototypes_against_numpy() -> None:
    draw = np.random.default_rng(1)
    support, query = draw.normal(size=(6, 4)), draw.normal(size=(9, 4))
    y, asked = np.array([2, 0, 1, 0, 1, 2]), np.arange(9) % 3
    means = np.stack([support[y == way].mean(0) for way in range(3)])
    scores = -np.array([[np.sum((q - m) ** 2) for m in means] for q in query])
    chance = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = Prototypes().read(*map(torch.from_numpy, (support, y, query, asked)), 3)
    known = Prototypes().scores(*map(torch.from_numpy, (support, y, query)), 3)
    np.testing.assert_allclose(known.numpy(), scores, rtol=1e-12)
    assert float(found.loss) == pytest.approx(-np.log(chance[np.arange(9), asked]).mean())
    assert float(found.accuracy) == pytest.approx((scores.argmax(1) == asked).mean())


@pytest.mark.parametrize("network", [STRIDE, MAX])
def test_the_blocks_are_those_of_torch(network: Conv4) -> None:
    draw = torch.Generator().manual_seed(0)
    weights = initial_weights(network.shapes, draw)
    weights = {name: value + 0.1 * torch.randn(value.shape, generator=draw) for name, value in weights.items()}
    x = torch.rand(5, network.sizes[0], generator=draw)
    image = x.view(5, network.side, network.side, network.channels).permute(0, 3, 1, 2)
    for block in range(1, 5):
        stride = 2 if network.pooling == "stride" else 1
        convolution = nn.Conv2d(image.shape[1], network.filters, 3, stride=stride, padding=1, bias=False)
        normalisation = nn.BatchNorm2d(network.filters)
        with torch.no_grad():
            kernel = weights[f"w{block}"].view(3, 3, image.shape[1], network.filters)
            convolution.weight.copy_(kernel.permute(3, 2, 0, 1))
            normalisation.weight.copy_(weights[f"g{block}"])
            normalisation.bias.copy_(weights[f"b{block}"])
            image = torch.relu(normalisation(convolution(image)))
            image = nn.functional.max_pool2d(image, 2) if network.pooling == "max" else image
    code = image.flatten(1) if network.pooling == "max" else image.mean((2, 3))
    seen = network.forward(weights, x)
    torch.testing.assert_close(seen.x[4], code, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.x[5], code @ weights["w5"] + weights["b5"], rtol=1e-4, atol=1e-5)
    assert [layer.shape[1] for layer in seen.x] == list(network.sizes)
    states, several = {n: torch.stack([v, 2 * v]) for n, v in weights.items()}, torch.stack([x, x.flip(1)])
    together = network.forward(states, several).x[-1]
    for task in range(2):
        alone = network.forward({n: v[task] for n, v in states.items()}, several[task]).x[-1]
        torch.testing.assert_close(together[task], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [STRIDE, MAX])
def test_frozen_statistics_make_each_example_its_own(network: Conv4) -> None:
    rule, problem = maml(network), Problem.of(network)
    state = double_start(rule, problem)
    x = torch.rand(7, network.sizes[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    support, query = x[:4], x[4:]
    statistics = rule.statistics(problem, state, support)
    frozen = rule.features(problem, state, query, statistics)
    torch.testing.assert_close(rule.features(problem, state, query[:1], statistics), frozen[:1])
    torch.testing.assert_close(
        rule.features(problem, state, support, statistics), rule.features(problem, state, support)
    )
    both = rule.features_by(problem, state, support, query)
    torch.testing.assert_close(both, (rule.features(problem, state, support), frozen))
    assert not torch.allclose(rule.features(problem, state, query), frozen)


def test_fewer_ways_take_the_first_logits() -> None:
    rule, fewer = maml(), STRIDE.with_outputs(2)
    x = torch.rand(4, STRIDE.sizes[0], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs = []
    for problem in (Problem.of(STRIDE), Problem.of(fewer)):
        outputs.append(rule.features(problem, double_start(rule, problem), x))
    assert torch.equal(outputs[0][:, :2], outputs[1])
    with pytest.raises(
        ValueError, match=r"rule maml starts from weights .* w5=3x3 b5=3, got a base network of .*w5=3x4"
    ):
        rule.init_state(Problem.of(STRIDE.with_outputs(4)), torch.Generator())
    with pytest.raises(ValueError, match="or fewer ways"):
        rule.init_state(Problem.of(STRIDE.encoder()), torch.Generator())


@pytest.mark.parametrize(
    ("rule", "network", "below"),
    [
        (maml(), STRIDE, STRIDE.encoder()),
        (maml(MAX), MAX, MAX.encoder()),
        (ProtoNet(layout(STRIDE.encoder().shapes)).double(), STRIDE.encoder(), STRIDE.encoder()),
        (maml(MLP((9, 4, 3), "tanh")), MLP((9, 4, 3), "tanh"), MLP((9, 4), "tanh")),
        (maml(MLP((9, 3))), MLP((9, 3)), MLP((9, 3))),
    ],
)
def test_a_learned_start_embeds_by_what_its_network_answers_below_the_head(
    rule: Rule, network: Network, below: Network
) -> None:
    found = rule.embedder(Problem.of(network, image_shape=(3, 3)))
    assert found is not None
    problem, state = found
    assert (problem.network, problem.image_shape) == (below, (3, 3))
    draw = torch.Generator().manual_seed(0)
    x, on = torch.rand(2, 4, network.sizes[0], dtype=torch.float64, generator=draw)
    start = {name: value for name, value in rule.start.items() if name in below.shapes}
    expected = below.forward(start, x, below.forward(start, on).statistics()).x[-1]
    torch.testing.assert_close(rule.features(problem, state, x, rule.statistics(problem, state, on)), expected)
    torch.testing.assert_close(rule.features_by(problem, state, on, x)[1], expected)


def test_a_learned_start_does_not_embed_other_images() -> None:
    with pytest.raises(ValueError, match=r"rule maml starts from weights w1=18x3 .*, got data for w1=9x3 .*images of"):
        maml().embedder(Problem.of(replace(STRIDE, channels=1)))


def test_kernels_of_a_convolution_are_no_pictures_of_the_inputs() -> None:
    for rule, network in ((maml(), STRIDE), (maml(MLP((4, 3))), MLP((4, 3)))):
        problem = Problem.of(network)
        pictures = rule.pictures(problem, rule.init_state(problem, torch.Generator()))
        assert (pictures is None) == isinstance(network, Conv4)
        if pictures is not None:
            assert torch.equal(pictures, rule.start["w1"].T)


@pytest.mark.parametrize("network", [STRIDE, MAX, MLP((3, 4, 2), "tanh")])
def test_a_network_comes_back_from_its_description(network: Network) -> None:
    assert network_from(describe_network(network)) == network
    assert parse_layout(layout(network.shapes), "maml") == network.shapes
    assert network.encoder().sizes == network.sizes[:-1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"side": 0}, "expected sizes of 1 or more"),
        ({"side": 8, "pooling": "mean"}, "got pooling 'mean', expected one of stride, max"),
        ({"side": 15, "pooling": "max"}, "got images of 15 x 15 pixels .* expected 16 or more"),
    ],
)
def test_impossible_networks_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Conv4(**settings)


def test_a_family_has_one_network_for_square_images_of_its_channels() -> None:
    family, draw = Conv4s(filters=5, channels=3, pooling="max"), torch.Generator()
    assert family.draw(17 * 17 * 3, 0, draw) == family.first(17 * 17 * 3, 0) == Conv4(17, 3, 5, "max")
    assert family.draw(17 * 17 * 3, 4, draw) == Conv4(17, 3, 5, "max", 4)
    assert (family.single, family.differentiable, family.competes) == (True, True, False)
    assert Conv4s(**family.first_options()) == family
    for inputs in (17 * 17 * 3 + 1, 17 * 18 * 3, 17 * 17):
        with pytest.raises(ValueError, match=f"got tasks of {inputs} inputs for a conv4 network, expected square"):
            family.first(inputs, 0)


def test_read_points_come_to_count_for_the_last_alone() -> None:
    config = Config.model_validate({"outer": {"anneal_reads": 10}})
    assert read_weights(config, 0, 4) == pytest.approx((0.25, 0.25, 0.25, 0.25))
    assert read_weights(config, 5, 4) == pytest.approx((0.125, 0.125, 0.125, 0.625))
    assert read_weights(config, 30, 4) == pytest.approx((0, 0, 0, 1))
    assert read_weights(config, 5, 1) is None
    assert read_weights(Config(), 5, 4) is None
    assert math.isclose(sum(read_weights(config, 3, 3) or ()), 1)
