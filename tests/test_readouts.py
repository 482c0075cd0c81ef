"""The contract of readouts, which every one in the registry keeps; and by which examples features are normalised."""

from typing import Any

import pytest
import torch
from runs import Arguments, trainer_of
from torch import Tensor
from torch.func import vmap

from examples import CHOOSING, ReadoutExample
from examples import READOUTS as EXAMPLES
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of
from outer_loop.readouts.contract import Learned, Readout, stacked_episodes
from outer_loop.readouts.metz_objective import metz_objective
from outer_loop.readouts.normalisation import NORMALISATIONS, Normalisation
from outer_loop.readouts.objective import Objective
from outer_loop.readouts.registry import READOUTS
from outer_loop.readouts.ridge import Ridge
from outer_loop.readouts.ridge_regression import ridge_weights
from tasks.task import Episode
from update_rules.contract import Problem
from update_rules.gradient.learned_start import layout
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian

WAYS, SHOTS, QUERIES, UNITS = 4, 3, 5, 6
ORDER = torch.tensor([2, 0, 3, 1])
"""New names of the classes."""

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
scoring = pytest.mark.parametrize("example", [one for one in EXAMPLES if one.scores], ids=lambda one: one.name)


def made(example: ReadoutExample) -> Readout:
    return READOUTS.make(example.name, example.options)


def drawn(readout: Readout, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of classes that overlap, float64, and their classes: of a support and of a query set."""
    draw = torch.Generator().manual_seed(seed)
    width = WAYS if readout.reads == "logits" else UNITS
    means = torch.randn(WAYS, width, generator=draw, dtype=torch.float64)
    if readout.reads == "logits":
        means += 2 * torch.eye(WAYS, dtype=torch.float64)
    found: list[Tensor] = []
    for count in (SHOTS, QUERIES):
        y = torch.arange(WAYS).repeat(count)[torch.randperm(WAYS * count, generator=draw)]
        found += [means[y] + torch.randn(len(y), width, generator=draw, dtype=torch.float64), y]
    if readout.reads == "pairs":
        together = (found[3][:, None] == found[3][None]).double()
        found[2] = 3 * together - 1 + torch.randn(len(found[3]), len(found[3]), generator=draw, dtype=torch.float64)
    return found[0], found[1], found[2], found[3]


def taken(readout: Readout, query: Tensor, order: Tensor) -> Tensor:
    """The same queries in another order: outputs are of pairs."""
    return query[order][:, order] if readout.reads == "pairs" else query[order]


def renamed(readout: Readout, features: Tensor) -> Tensor:
    """The same features where class c is called ORDER[c]: logits have a place for each."""
    return features[:, ORDER.argsort()] if readout.reads == "logits" else features


def test_every_readout_of_the_registry_is_under_test() -> None:
    assert {one.name for one in EXAMPLES} | {CHOOSING["readout"]} >= set(READOUTS.names)
    assert {made(one).reads for one in EXAMPLES} <= {"features", "logits", "pairs"}


@every
def test_it_is_pure(example: ReadoutExample) -> None:
    readout, given = made(example), drawn(made(example), 0)
    before, state = [one.clone() for one in given], torch.get_rng_state()
    first, second = (readout.read(*given, WAYS) for _ in range(2))
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(first.accuracy, second.accuracy)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(map(torch.equal, given, before))
    assert first.loss.shape == first.accuracy.shape == ()


@every
def test_its_gradient_in_the_features_is_that_of_finite_differences(example: ReadoutExample) -> None:
    readout = made(example)
    support, y_support, query, y_query = drawn(readout, 1)
    needed = support.requires_grad_() if readout.needs_support else None

    def loss(query: Tensor, *support: Tensor) -> Tensor:
        return readout.read(support[0] if support else None, y_support, query, y_query, WAYS).loss

    features = [query.requires_grad_(), *([] if needed is None else [needed])]
    assert torch.autograd.gradcheck(loss, features)
    assert all(bool(grad.any()) for grad in torch.autograd.grad(loss(*features), features))


@every
def test_vmap_over_tasks_equals_a_loop(example: ReadoutExample) -> None:
    readout = made(example)
    tasks = [drawn(readout, seed) for seed in range(3)]
    together = [torch.stack(part) for part in zip(*tasks, strict=True)]
    torch._C._functorch._set_vmap_fallback_warning_enabled(True)
    try:
        loss, accuracy = vmap(lambda *one: readout.read(*one, WAYS))(*together)
    finally:
        torch._C._functorch._set_vmap_fallback_warning_enabled(False)
    for task, one in enumerate(tasks):
        alone = readout.read(*one, WAYS)
        torch.testing.assert_close(loss[task], alone.loss, rtol=0, atol=1e-12)
        torch.testing.assert_close(accuracy[task], alone.accuracy, rtol=0, atol=1e-12)
    assert len(set(accuracy.tolist())) > 1, "the tasks differ"


@every
def test_names_and_places_do_not_matter(example: ReadoutExample) -> None:
    readout = made(example)
    for seed in range(5):
        support, y_support, query, y_query = drawn(readout, seed)
        plain = readout.read(support, y_support, query, y_query, WAYS)
        draw = torch.Generator().manual_seed(seed)
        of_support, of_query = (torch.randperm(len(y), generator=draw) for y in (y_support, y_query))
        others = [
            (renamed(readout, support), ORDER[y_support], renamed(readout, query), ORDER[y_query]),
            (support[of_support], y_support[of_support], taken(readout, query, of_query), y_query[of_query]),
        ]
        for other in others:
            found = readout.read(*other, WAYS)
            torch.testing.assert_close(found.loss, plain.loss)
            torch.testing.assert_close(found.accuracy, plain.accuracy)


@every
def test_features_without_information_are_read_at_chance(example: ReadoutExample) -> None:
    readout, draw = made(example), torch.Generator().manual_seed(0)
    width = WAYS if readout.reads == "logits" else UNITS
    found = []
    for _ in range(400):
        y = [torch.arange(WAYS).repeat(count) for count in (SHOTS, QUERIES)]
        x = [torch.randn(len(one), width, generator=draw, dtype=torch.float64) for one in y]
        if readout.reads == "pairs":
            x[1] = torch.randn(len(y[1]), len(y[1]), generator=draw, dtype=torch.float64)
        found.append(readout.read(x[0], y[0], x[1], y[1], WAYS).accuracy)
    accuracies = torch.stack(found)
    error = float(accuracies.std()) / len(accuracies) ** 0.5
    chance = 0 if readout.reads == "pairs" else 1 / WAYS
    assert abs(float(accuracies.mean()) - chance) < 4 * error < 0.05


@pytest.mark.parametrize("example", [one for one in EXAMPLES if made(one).reads != "pairs"], ids=lambda one: one.name)
def test_classes_that_are_apart_are_all_told(example: ReadoutExample) -> None:
    readout = made(example)
    for seed in range(5):
        support, y_support, query, y_query = drawn(readout, seed)
        apart = 50 * torch.eye(support.shape[1], dtype=torch.float64)
        near = readout.read(support, y_support, query, y_query, WAYS)
        far = readout.read(support + apart[y_support], y_support, query + apart[y_query], y_query, WAYS)
        assert float(far.accuracy) == 1
        assert float(far.loss) < 0.1 * float(near.loss)
        # The same queries, each said to be of the next class.
        wrong = readout.read(support + apart[y_support], y_support, query + apart[y_query], (y_query + 1) % WAYS, WAYS)
        assert float(wrong.accuracy) == 0
        assert float(wrong.loss) > float(near.loss)


@every
def test_who_needs_no_support_is_the_same_without(example: ReadoutExample) -> None:
    readout = made(example)
    support, y_support, query, y_query = drawn(readout, 3)
    if readout.needs_support:
        other = readout.read(support.flip(0), y_support, query, y_query, WAYS)
        assert not torch.equal(readout.read(support, y_support, query, y_query, WAYS).loss, other.loss)
    else:
        assert readout.read(None, y_support, query, y_query, WAYS) == readout.read(
            support, y_support, query, y_query, WAYS
        )


@scoring
def test_scores_of_new_queries_agree_with_what_is_read(example: ReadoutExample) -> None:
    readout = made(example)
    for seed in range(5):
        support, y_support, query, y_query = drawn(readout, seed)
        scores = readout.scores(support, y_support, query, WAYS)
        assert scores.shape == (len(query), WAYS)
        told = float((scores.argmax(1) == y_query).double().mean())
        assert told == pytest.approx(float(readout.read(support, y_support, query, y_query, WAYS).accuracy))
        assert told > 1 / WAYS
        for place in range(len(query)):
            alone = readout.scores(support, y_support, query[place : place + 1], WAYS)
            torch.testing.assert_close(alone[0], scores[place])


@scoring
def test_permuting_classes_or_queries_permutes_scores(example: ReadoutExample) -> None:
    readout = made(example)
    support, y_support, query, _ = drawn(readout, 2)
    scores = readout.scores(support, y_support, query, WAYS)
    torch.testing.assert_close(readout.scores(support, y_support, query.flip(0), WAYS), scores.flip(0))
    named = readout.scores(renamed(readout, support), ORDER[y_support], renamed(readout, query), WAYS)
    torch.testing.assert_close(named[:, ORDER], scores)


@pytest.mark.parametrize("example", [one for one in EXAMPLES if not one.scores], ids=lambda one: one.name)
def test_who_cannot_score_says_so_in_one_line(example: ReadoutExample) -> None:
    support, y_support, query, _ = drawn(made(example), 2)
    with pytest.raises(ValueError, match="cannot score queries without their classes") as caught:
        made(example).scores(support, y_support, query, WAYS)
    assert str(caught.value).startswith(f"readout {type(made(example)).__name__} ")
    assert "\n" not in str(caught.value)


def test_prototypes_are_the_means_of_the_support_and_scores_minus_squared_distances() -> None:
    readout = READOUTS.make("prototypes", {})
    support, y_support, query, y_query = drawn(readout, 4)
    expected = torch.zeros(len(query), WAYS, dtype=torch.float64)
    for place, one in enumerate(query):
        for way in range(WAYS):
            mean = sum(x for x, y in zip(support, y_support, strict=True) if y == way) / SHOTS
            expected[place, way] = -sum((a - b) ** 2 for a, b in zip(one, mean, strict=True))
    torch.testing.assert_close(readout.scores(support, y_support, query, WAYS), expected)
    loss = torch.nn.functional.cross_entropy(expected, y_query)
    torch.testing.assert_close(readout.read(support, y_support, query, y_query, WAYS).loss, loss)


@pytest.mark.parametrize("units", [UNITS, 3 * WAYS * SHOTS])
def test_a_marginal_ridge_weighs_settings_by_what_they_say_of_examples_left_out(units: int) -> None:
    penalties, temperatures = (0.3, 20.0), (0.1, 1.0)
    readout = READOUTS.make("marginal_ridge", {"penalties": penalties, "temperatures": temperatures})
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(WAYS).repeat(SHOTS)
    means = torch.randn(WAYS, units, generator=draw, dtype=torch.float64)
    support, query = (means[y] + torch.randn(len(y), units, generator=draw, dtype=torch.float64) for _ in range(2))
    centred = support - support.mean(0)
    x, queries = centred / centred.square().mean().sqrt(), (query - support.mean(0)) / centred.square().mean().sqrt()
    targets = torch.nn.functional.one_hot(y, WAYS).double()
    told, likelihoods = [], []
    for penalty in penalties:
        every = ridge_weights(x, targets, penalty)
        left_out = []
        for place in range(len(x)):
            others = [one for one in range(len(x)) if one != place]
            fitted = ridge_weights(x[others], targets[others], penalty)
            left_out.append(x[place] @ fitted[:-1] + fitted[-1])
        for temperature in temperatures:
            told.append(torch.softmax((queries @ every[:-1] + every[-1]) / temperature, 1))
            logs = torch.log_softmax(torch.stack(left_out) / temperature, 1)
            likelihoods.append(sum(float(row[way]) for row, way in zip(logs, y.tolist(), strict=True)))
    weights = torch.softmax(torch.tensor(likelihoods, dtype=torch.float64), 0)
    expected = sum(weight * one for weight, one in zip(weights, told, strict=True))
    assert float(weights.max()) < 0.999
    torch.testing.assert_close(readout.scores(support, y, query, WAYS).exp(), expected)


def test_a_marginal_ridge_takes_settings_alike_where_a_class_has_one_example_and_minds_no_scale() -> None:
    readout = READOUTS.make("marginal_ridge", {"penalties": (0.5, 3.0), "temperatures": (0.2,)})
    draw = torch.Generator().manual_seed(0)
    support, query = (torch.randn(WAYS, UNITS, generator=draw, dtype=torch.float64) for _ in range(2))
    y = torch.arange(WAYS)
    alone = [READOUTS.make("marginal_ridge", {"penalties": (one,), "temperatures": (0.2,)}) for one in (0.5, 3.0)]
    mean = torch.stack([one.scores(support, y, query, WAYS).exp() for one in alone]).mean(0)
    torch.testing.assert_close(readout.scores(support, y, query, WAYS).exp(), mean)
    torch.testing.assert_close(readout.scores(7 * support + 3, y, 7 * query + 3, WAYS).exp(), mean)
    same = torch.zeros_like(support)
    assert bool(readout.read(same, y, same, y, WAYS).loss.isfinite()), "features that are all alike"
    dead = same.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(readout.read(dead, y, query, y, WAYS).loss, dead)
    assert float(gradient.abs().max()) < 1e12, "features that are dead in the support set"


# By which examples features are normalised.

CONV, DENSE = Conv4(4, filters=3), MLP((16, 5, 4), "tanh")


def learned(network: Any, rule_name: str = "protonet") -> Learned:
    """A rule of random θ, with running averages, and a State."""
    problem = Problem.of(network, ways=WAYS)
    draw = torch.Generator().manual_seed(0)
    rule = ProtoNet(layout(network.shapes), running=True) if rule_name == "protonet" else Hebbian()
    with torch.no_grad():
        for name, average in rule.named_buffers():
            average.copy_(torch.rand(average.shape, generator=draw) + (0.5 if name.startswith("var") else -0.5))
    return Learned(rule, theta_of(rule), problem, rule.init_state(problem, draw))


class Examples:
    """Of one task: 5 support, 6 query and 8 unlabelled ones; each set in another version by its name."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(1)
        self.support, self.query, self.unlabelled = (torch.rand(n, 16, generator=draw) for n in (5, 6, 8))
        self.other = torch.rand(16, generator=draw)

    def changed(self, what: str) -> "Examples":
        """With another last example in the set called ``what``."""
        new = Examples()
        setattr(new, what, getattr(new, what).clone())
        getattr(new, what)[-1] = self.other
        return new

    def features(self, policy: str, of: Learned, needs_support: bool = True) -> tuple[Tensor | None, Tensor]:
        """Of the first support and the first query example."""
        with torch.no_grad():
            support, query = Normalisation(policy).features(
                of, self.support, self.query, self.unlabelled, needs_support
            )
        return None if support is None else support[0], query[0]


DEPEND = {
    "batch": ({"support", "query"}, {"support", "query"}),
    "support": ({"support"}, {"support"}),
    "unlabelled": ({"unlabelled"}, {"unlabelled"}),
    "running": (set(), set()),
}
"""By policy: whose other examples change the features of a support example, and those of a query."""


@pytest.mark.parametrize("policy", NORMALISATIONS)
@pytest.mark.parametrize(
    ("network", "rule"), [(CONV, "protonet"), (DENSE, "protonet"), (DENSE, "hebbian")], ids=["conv", "mlp", "hebbian"]
)
def test_features_depend_on_the_examples_that_normalise_and_on_no_others(policy: str, network: Any, rule: str) -> None:
    of = learned(network, rule)
    if policy not in of.rule.normalisations:
        assert policy == "running"
        with pytest.raises(NotImplementedError):
            Examples().features(policy, of)
        return
    plain = Examples().features(policy, of)
    for place, depends in enumerate(DEPEND[policy]):
        for what in ("support", "query", "unlabelled"):
            now = Examples().changed(what).features(policy, of)[place]
            if what in depends:
                assert float((now - plain[place]).abs().max()) > 1e-3, (place, what)
            else:
                torch.testing.assert_close(now, plain[place], msg=f"{place} {what}")


def test_each_policy_normalises_by_what_it_names() -> None:
    """By the mean and variance of the first layer's linear part, written out."""
    network = MLP((16, 4), "tanh")
    of, given = learned(network), Examples()
    w, b = of.rule.start["w1"].detach(), of.rule.start["b1"].detach()
    by = {
        "batch": torch.cat([given.support, given.query]),
        "support": given.support,
        "unlabelled": given.unlabelled,
    }
    for policy in NORMALISATIONS:
        linear = by[policy] @ w if policy in by else None
        mean = of.rule.get_buffer("mean1") if linear is None else linear.mean(0)
        var = of.rule.get_buffer("var1") if linear is None else linear.var(0, correction=0)
        for found, x in zip(given.features(policy, of), (given.support, given.query), strict=True):
            torch.testing.assert_close(found, torch.tanh((x @ w - mean) / (var + 1e-6).sqrt() + b)[0])


def test_without_need_of_the_support_set_queries_are_read_alone() -> None:
    of = learned(CONV)
    given = Examples()
    for policy in NORMALISATIONS:
        support, query = given.features(policy, of, needs_support=False)
        assert support is None
        if policy == "batch":
            with torch.no_grad():
                expected = of.features(given.query)[0]
            assert not torch.allclose(query, given.features(policy, of)[1], atol=1e-4)
        else:
            expected = given.features(policy, of)[1]
        torch.testing.assert_close(query, expected)


def test_who_lacks_unlabelled_examples_is_told_what_to_set() -> None:
    given = Examples()
    with pytest.raises(ValueError, match=r"no unlabelled examples .*; set network.normalisation to batch or support"):
        Normalisation("unlabelled").features(learned(DENSE), given.support, given.query, None, True)


def test_running_averages_are_those_in_theta() -> None:
    of, given = learned(DENSE), Examples()
    moved = Learned(of.rule, {**of.theta, "mean1": of.theta["mean1"] + 1}, of.problem, of.state)
    assert not torch.equal(given.features("running", of)[1], given.features("running", moved)[1])


def episodes(count: int) -> tuple[list[Episode], Tensor]:
    """Episodes of 4 ways, and unlabelled examples [T, 9, 16]."""
    draw = torch.Generator().manual_seed(2)
    y = torch.arange(WAYS).repeat(3)
    found = [
        Episode(*(part for _ in range(2) for part in (torch.rand(12, 16, generator=draw), y))) for _ in range(count)
    ]
    return found, torch.rand(count, 9, 16, generator=draw)


@pytest.mark.parametrize("rule", ["protonet", "hebbian"])
def test_ridge_is_read_on_frozen_unlabelled_statistics(rule: str) -> None:
    of = learned(DENSE, rule)
    (episode, other), (unlabelled, *_) = episodes(2)
    objective = Objective(Ridge(0.3), Normalisation("unlabelled"))
    with torch.no_grad():
        frozen = of.rule.statistics(of.problem, of.state, unlabelled)
        support, query = (
            of.rule.features(of.problem, of.state, x, frozen) for x in (episode.support_x, episode.query_x)
        )
        expected = metz_objective(support, episode.support_y, query, episode.query_y, WAYS, 0.3)
        found = objective.read(of, episode, WAYS, unlabelled)
        torch.testing.assert_close(found.loss, expected.loss)
        assert found.accuracy == expected.accuracy_query
        by_batch = Objective(Ridge(0.3)).read(of, episode, WAYS, unlabelled)
        assert abs(float(by_batch.loss - found.loss)) > 1e-3
        assert not torch.equal(found.loss, objective.read(of, other, WAYS, unlabelled).loss)


@pytest.mark.parametrize("policy", NORMALISATIONS)
def test_reading_tasks_at_once_equals_reading_each(policy: str) -> None:
    of = learned(DENSE)
    drawn_episodes, unlabelled = episodes(3)
    objective = Objective(Ridge(), Normalisation(policy))
    thetas = [{name: value + 0.1 * task for name, value in of.theta.items()} for task in range(3)]
    own = {name: torch.stack([one[name] for one in thetas]) for name in of.theta}
    for theta, alone in ((of.theta, [of.theta] * 3), (own, thetas)):
        with torch.no_grad():
            loss, accuracy = objective.read_tasks(
                of.rule,
                theta,
                of.problem,
                stack_states([of.state] * 3),
                stacked_episodes(drawn_episodes),
                WAYS,
                unlabelled,
            )
            for task, episode in enumerate(drawn_episodes):
                one = Learned(of.rule, alone[task], of.problem, of.state)
                expected = objective.read(one, episode, WAYS, unlabelled[task])
                torch.testing.assert_close(loss[task], expected.loss)
                assert accuracy[task] == expected.accuracy


def test_the_meta_gradient_passes_through_frozen_statistics() -> None:
    of = learned(DENSE)
    (episode,), (unlabelled,) = episodes(1)
    grads = []
    for policy in ("unlabelled", "running"):
        loss = Objective(Ridge(), Normalisation(policy)).read(of, episode, WAYS, unlabelled).loss
        grads.append(torch.autograd.grad(loss, of.theta["start.w1"])[0])
    assert all(bool(grad.any()) for grad in grads)
    shift = {name: value.detach() for name, value in of.theta.items()}

    def loss_at(step: float) -> float:
        moved = {**shift, "start.w1": shift["start.w1"].double()}
        moved = {name: value.double() for name, value in moved.items()}
        moved["start.w1"] = moved["start.w1"] + step * grads[0].double()
        doubled = Episode(episode.support_x.double(), episode.support_y, episode.query_x.double(), episode.query_y)
        state = {name: value.double() for name, value in of.state.items()}
        one = Learned(of.rule, moved, of.problem, state)
        return float(Objective(Ridge(), Normalisation("unlabelled")).read(one, doubled, WAYS, unlabelled.double()).loss)

    slope = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5
    assert slope == pytest.approx(float((grads[0].double() ** 2).sum()), rel=1e-3)


@pytest.mark.parametrize("policy", ["batch", "support", "unlabelled"])
def test_training_reads_as_the_config_says(policy: str, tiny_config: Arguments) -> None:
    run = trainer_of(tiny_config("run", f"network.normalisation={policy}", "outer.readout.options.penalty=0.3"))
    objective = run.parts.estimator.objective
    assert objective.normalisation == Normalisation(policy)
    assert isinstance(objective.readout, Ridge)
    assert objective.readout.penalty == 0.3
    assert run.parts.trajectories.normalisation == policy
    assert {one.task.ways for turn in run.state.trajectories for one in turn} == {3}
    losses = {policy: run.step()["meta_loss"]}
    other = "support" if policy == "batch" else "batch"
    losses[other] = trainer_of(
        tiny_config("other", f"network.normalisation={other}", "outer.readout.options.penalty=0.3")
    ).step()["meta_loss"]
    assert losses[policy] != losses[other]
