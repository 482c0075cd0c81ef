"""Few-shot evaluation: pairing, determinism, the probes' known answers, and what happens to a rule that diverges."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifierCV

from evaluation import protocol
from evaluation.baselines.closed_form import principal_components
from evaluation.baselines.settings import BaselineSettings
from evaluation.comparison import Measured, compare
from evaluation.method import Method, TaskByTask
from evaluation.methods import CHEAP, Company, make_baselines
from evaluation.paired_tasks import EPISODE, NETWORK, PairedTask, paired_tasks
from evaluation.probes import PENALTIES, PROBES, accuracy, as_classifier
from evaluation.protocol import Use, task_groups
from evaluation.rules import RuleMethod, pictures_of
from evaluation.statistics import mean_over_tasks, paired_difference
from experiment.validation import judged
from inner_loop.apply import apply_rule
from inner_loop.networks.mlp import MLP, MLPs
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of, unroll
from outer_loop.readouts.prototypes import Prototypes
from tasks.dataset import Dataset
from tasks.labellers.registry import LABELLERS
from tasks.labellers.shuffled import ShuffledLabels
from tasks.source import TaskSource
from update_rules.contract import Problem, Rule, State, Statistics, StepViews
from update_rules.gradient.learned_start import layout
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.local.neuron_local import NeuronLocal

USE = Use(MLPs(((12,),), outputs=8), steps=8, batch=16)
PROBLEM = Problem.of(MLP((20, 12, 8)))
METHODS = ("rule", *CHEAP)


def blobs(inputs: int = 20, classes: int = 5, spread: float = 0.25, name: str = "blobs") -> Dataset:
    """Noisy copies of one prototype a class, 30 examples each, in [0, 1]."""
    generator = torch.Generator().manual_seed(inputs)
    y = torch.arange(classes).repeat_interleave(30)
    prototypes = torch.rand(classes, inputs, generator=generator)
    x = (prototypes[y] + spread * torch.randn(len(y), inputs, generator=generator)).clamp(0, 1)
    return Dataset(name, x, y, None, tuple(str(c) for c in range(classes)))


def blob_source(labeller: str = "true", spread: float = 0.4) -> TaskSource:
    return TaskSource(
        (blobs(spread=spread),), ways=4, shots=5, queries=10, permute=True, labeller=LABELLERS.make(labeller, {})
    )


def measured(
    rule: Rule, source: TaskSource, use: Use = USE, *, tasks: int, seed: int, points: tuple[int, ...] = ()
) -> list[Measured]:
    """The rule and the baselines that cost next to nothing, read at ``points`` or after the last step."""
    points = points or (use.steps,)
    methods: dict[str, Method] = {"rule": RuleMethod(rule, use, points)}
    methods |= make_baselines(CHEAP, Company(use, BaselineSettings(), rule, points))
    return compare(methods, source, shots=[source.shots], tasks=tasks, seed=seed)


def last(found: list[Measured]) -> dict[str, list[float]]:
    """The accuracies of each method after its last inner step."""
    return {one.method: one.accuracies for one in found}


class Exploding(Rule):
    """A rule whose network becomes infinite where a batch starts with an input above 0.9."""

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        low, up = problem.network.sizes
        return {"w1": torch.randn(low, up, generator=generator), "b1": torch.zeros(up)}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        grow = torch.where(views["unlabelled"][0, 0] > 0.9, math.inf, 1.0)
        return {**state, "w1": state["w1"] * grow}


def test_every_method_is_measured_on_the_same_tasks_and_twice_the_same() -> None:
    rule = NeuronLocal(hidden=4)
    with torch.no_grad():
        rule.mixing += 0.1  # stands for a θ that was learned
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = measured(rule, blob_source(), tasks=6, seed=3)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert tuple(last(first)) == METHODS
    assert first == measured(rule, blob_source(), tasks=6, seed=3)
    fewer = measured(rule, blob_source(), tasks=2, seed=3)
    assert last(fewer) == {method: values[:2] for method, values in last(first).items()}
    assert len({found.drawn for found in first}) == 1
    assert fewer[0].drawn != first[0].drawn
    other = last(measured(rule, blob_source(), tasks=6, seed=4))
    assert all(other[method] != last(first)[method] for method in ("rule", "random_network", "raw"))
    assert last(first)["rule"] != last(first)["untrained_rule"]


def test_an_untrained_rule_ties_with_itself_and_no_steps_are_the_random_network() -> None:
    found = last(measured(NeuronLocal(hidden=4, seed=1), blob_source(), tasks=3, seed=0))
    assert found["rule"] == found["untrained_rule"]
    found = last(measured(NeuronLocal(hidden=4), blob_source(), replace(USE, steps=0), tasks=3, seed=0))
    assert found["rule"] == found["random_network"]


def test_training_tasks_together_equals_training_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = NeuronLocal(hidden=4)
    shared = list(paired_tasks(blob_source(), 3, seed=5))
    starts = [rule.init_state(PROBLEM, task.generator(NETWORK)) for task in shared]
    streams = [[batch for batch, _ in zip(task.stream(16), range(3), strict=False)] for task in shared]
    with torch.no_grad():
        together = unroll(
            rule,
            theta_of(rule),
            PROBLEM,
            stack_states(starts),
            {"unlabelled": [torch.stack(step) for step in zip(*streams, strict=True)]},
            read_points=[1, 3],
        )
    for index, (start, stream) in enumerate(zip(starts, streams, strict=True)):
        alone = apply_rule(rule, PROBLEM, start, stream, steps=3)
        for name, value in alone.items():
            torch.testing.assert_close(together[-1][name][index], value, rtol=1e-3, atol=1e-4)
    by_ten = rule_on_blobs(rule)
    monkeypatch.setattr(protocol, "TASKS_AT_ONCE", 2)
    assert rule_on_blobs(rule) == pytest.approx(by_ten, abs=0.02)


def rule_on_blobs(rule: Rule) -> dict[int, float]:
    return judged(rule, blob_source(), replace(USE, steps=5), points=[0, 2, 4, 5], tasks=5, seed=0).by_step


def test_a_rule_is_read_before_the_first_step_at_the_read_points_and_at_the_end() -> None:
    assert protocol.read_points(5, 2) == [0, 2, 4, 5]
    found = rule_on_blobs(Hebbian())
    assert list(found) == [0, 2, 4, 5]
    assert all(0.25 < value <= 1 for value in found.values())


def test_a_method_beside_others_is_measured_as_alone_at_every_step() -> None:
    use = replace(USE, steps=5)
    found = measured(Hebbian(), blob_source(), use, tasks=5, seed=0, points=(0, 2, 4, 5))
    curves = {method: {one.steps: one.accuracies for one in found if one.method == method} for method in METHODS}
    assert {step: sum(values) / 5 for step, values in curves["rule"].items()} == rule_on_blobs(Hebbian())
    assert curves["untrained_rule"] == curves["rule"]  # this rule has not been trained
    assert list(curves["raw"]) == [None]
    coarse = measured(Hebbian(), blob_source(), use, tasks=5, seed=0, points=(0, 5))
    assert last(coarse) == last(found)
    assert [one.steps for one in coarse if one.method == "rule"] == [0, 5]


def test_shuffled_labels_leave_nothing_to_find() -> None:
    source = TaskSource((blobs(spread=0.02),), 4, shots=5, queries=20, permute=False, labeller=ShuffledLabels())
    found = last(measured(Hebbian(), source, tasks=20, seed=0))
    for method, values in found.items():
        assert abs(np.mean(values) - 0.25) < 0.06, method
    easy = TaskSource((blobs(spread=0.02),), 4, shots=5, queries=20, permute=False)
    assert np.mean(last(measured(Hebbian(), easy, tasks=3, seed=0))["raw"]) == 1.0


def test_a_network_that_diverges_guesses_and_leaves_the_others_alone() -> None:
    method = RuleMethod(Exploding(), Use(MLPs(((),), outputs=8), steps=3, batch=8), (0, 3))
    start, end = compare({"rule": method}, blob_source(), shots=[5], tasks=12, seed=0)
    assert (start.steps, end.steps, start.diverged) == (0, 3, 0)
    assert 0 < end.diverged < 12
    changed = [a != b for a, b in zip(start.accuracies, end.accuracies, strict=True)]
    assert sum(changed) == end.diverged
    assert sum(value == 0.25 for value in end.accuracies) == end.diverged
    problem = Problem.of(MLP((3, 2)))
    state = Exploding().init_state(problem, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"rule exploding: w1 of the base network not finite after inner step \d"):
        apply_rule(Exploding(), problem, state, [torch.ones(4, 3)] * 5, steps=5)


def test_one_task_is_trained_as_in_the_evaluation() -> None:
    task = PairedTask(blob_source(), 0, 0)
    (start,), (end,) = RuleMethod(Hebbian(), USE, (0, 2)).learn([task], [task.episode])
    assert start.state["w1"].shape == (20, 12)
    batches = [batch for batch, _ in zip(task.stream(16), range(2), strict=False)]
    alone = apply_rule(Hebbian(), PROBLEM, start.state, batches, steps=2)
    torch.testing.assert_close(end.state["w2"], alone["w2"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(start.state["w2"], end.state["w2"], atol=1e-3)


def test_sources_of_mixed_widths_keep_the_order_of_tasks() -> None:
    both = TaskSource((blobs(20), blobs(7, name="narrow")), ways=4, shots=5, queries=10, permute=True)
    widths = {task.task.inputs for task in paired_tasks(both, 8, seed=0)}
    assert widths == {7, 20}
    found = last(measured(Hebbian(), both, tasks=8, seed=0))
    again = last(measured(Hebbian(), both, tasks=3, seed=0))
    assert found["rule"][:3] == pytest.approx(again["rule"], abs=0.051)


def test_images_and_tables_of_one_width_are_not_of_one_problem() -> None:
    images = replace(blobs(20), image_shape=(4, 5))
    both = TaskSource((images, blobs(20, name="table")), ways=4, shots=5, queries=10, permute=False)
    groups = [[task.task.image_shape for task in group] for group in task_groups(both, 10, seed=0)]
    assert sorted(map(str, {shape for group in groups for shape in group})) == ["(4, 5)", "None"]
    assert all(len(set(group)) == 1 for group in groups)


class Watching(Rule):
    """A rule that looks at queries: its features are how far an example is from where these are."""

    consumes = ("query_x",)

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        return {"place": torch.zeros(problem.inputs)}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        return {"place": views["query_x"].mean(0)}

    def statistics(self, problem: Problem, state: State, x: torch.Tensor) -> Statistics:
        return {}

    def features(
        self, problem: Problem, state: State, x: torch.Tensor, statistics: Statistics | None = None
    ) -> torch.Tensor:
        return (x - state["place"]).abs()


def test_what_a_rule_sees_of_an_episode_is_of_the_episode_that_judges() -> None:
    method = {"rule": RuleMethod(Watching(), replace(USE, steps=1), (1,))}
    some, many = compare(method, blob_source(), shots=[1, 5], readouts=["nearest"], tasks=4, seed=0)
    (alone,) = compare(method, blob_source(), shots=[5], readouts=["nearest"], tasks=4, seed=0)
    assert (some.shots, many) == (1, alone)
    task = PairedTask(blob_source(), 0, 0)
    episodes = [task.task.episode(task.generator(EPISODE), count) for count in (1, 5)]
    ((one,),), ((five,),) = (method["rule"].learn([task], [episode]) for episode in episodes)
    assert torch.equal(one.state["place"], episodes[0].query_x.mean(0))
    assert not torch.equal(one.state["place"], five.state["place"])


def image_task(shape: tuple[int, ...], permute: bool = True) -> PairedTask:
    """A task of images of ``shape``, whose inputs come in another order."""
    inputs = math.prod(shape)
    return PairedTask(TaskSource((replace(blobs(inputs), image_shape=shape),), 4, 5, 10, permute=permute), 0, 0)


def test_pictures_show_pixels_where_they_are_seen_before_and_after_training() -> None:
    rule, task = Hebbian(), image_task((4, 5))
    (start,), (end,) = RuleMethod(rule, USE, (0, 8)).learn([task], [task.episode])
    found = pictures_of(rule, USE, task)
    assert found is not None
    for picture, learned in zip(found, (start, end), strict=True):
        assert picture.shape == (12, 4, 5)
        for place, pixel in enumerate(task.task.permutation.tolist()):
            assert torch.equal(picture.flatten(1)[:, pixel], learned.state["w1"][place])
    assert not torch.equal(*found)
    coloured = image_task((2, 2, 3))
    (learned,) = RuleMethod(rule, USE, (0,)).learn([coloured], [coloured.episode])[0]
    before, _ = pictures_of(rule, USE, coloured) or ()
    in_order = learned.state["w1"][torch.argsort(coloured.task.permutation)].T
    torch.testing.assert_close(before, in_order.reshape(-1, 2, 2, 3).mean(-1))


def test_there_are_pictures_of_images_and_of_what_rules_show_alone() -> None:
    assert pictures_of(Hebbian(), USE, PairedTask(blob_source(), 0, 0)) is None  # a table
    assert pictures_of(Watching(), USE, image_task((4, 5))) is None
    task = image_task((4, 5), permute=False)
    rule = ProtoNet(layout(MLP((20, 12, 8)).shapes))
    found = pictures_of(rule, replace(USE, normalisation="support", readout=Prototypes()), task)
    assert found is not None
    assert torch.equal(found[0], rule.start["w1"].detach().T.reshape(12, 4, 5))  # θ, which no inner step changes
    assert torch.equal(*found)
    assert not any(images.requires_grad for images in found)  # what is drawn is numpy's


def test_paired_tasks_draw_the_stream_and_the_episode_apart() -> None:
    task = PairedTask(blob_source(), 0, 0)
    episode = task.episode
    next(task.stream(4))
    assert torch.equal(PairedTask(blob_source(), 0, 0).episode.query_x, episode.query_x)
    assert task.unlabelled.shape == (120, 20)
    assert not torch.equal(PairedTask(blob_source(), 0, 1).episode.query_x, episode.query_x)


def test_all_principal_components_do_what_the_raw_inputs_do() -> None:
    shared = list(paired_tasks(blob_source(), 1, seed=0))
    components = TaskByTask(lambda task: principal_components(task, 99))
    ((fitted,),) = components.fit(shared, [shared[0].episode])
    support_x, _, query_x, _ = shared[0].episode
    assert [part.shape for part in fitted(support_x, query_x)] == [(20, 20), (40, 20)]
    methods = {"pca": components, "raw": TaskByTask(lambda task: torch.clone)}
    pca, raw = compare(methods, blob_source(), shots=[5], tasks=4, seed=0)
    assert pca.accuracies == raw.accuracies


def read_by(
    x: torch.Tensor, y: torch.Tensor, query: torch.Tensor, query_y: torch.Tensor, probe: str = "ridge"
) -> float:
    return accuracy(as_classifier(probe), x, y, query, query_y)


def test_ridge_knows_easy_answers_and_ignores_shift_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(8)
    x = torch.nn.functional.one_hot(y, 3).float() + 0.8 * torch.randn(24, 3, generator=generator)
    query_y = torch.arange(3).repeat(50)
    query = torch.nn.functional.one_hot(query_y, 3).float() + 0.8 * torch.randn(150, 3, generator=generator)
    found = read_by(x, y, query, query_y)
    assert 0.5 < found < 0.95
    one_by_one = [read_by(x, y, query[[i]], query_y[[i]]) for i in range(0, 150, 2)]
    assert np.mean(one_by_one) == pytest.approx(read_by(x, y, query[::2], query_y[::2]))
    assert read_by(1e4 * x + 7, y, 1e4 * query + 7, query_y) == found
    one_hot = torch.eye(3).repeat(8, 1)
    assert read_by(one_hot, y, torch.eye(3), torch.arange(3)) == 1.0
    assert read_by(x * math.nan, y, query, query_y) == pytest.approx(1 / 3)
    assert read_by(torch.ones(24, 2), y, torch.ones(150, 2), query_y) == pytest.approx(1 / 3)


@pytest.mark.parametrize("readout", list(PROBES))
def test_every_probe_tells_easy_classes_apart_from_one_label_each_and_more(readout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for shots in (1, 2, 6):
        y = torch.arange(4).repeat(shots)
        x, query = (torch.eye(4)[y] + 0.05 * torch.randn(len(y), 4, generator=generator) for _ in range(2))
        assert read_by(x, y, query, y, readout) == 1.0
        assert read_by(100 * x - 7, y, 100 * query - 7, y, readout) == 1.0
        assert read_by(x * math.nan, y, query, y, readout) == 0.25
        assert read_by(torch.ones_like(x), y, query, y, readout) <= 0.5


def test_prototypes_are_class_means() -> None:
    x, y = torch.tensor([[0.0], [2.0], [4.0], [10.0]]), torch.tensor([0, 0, 1, 1])  # means 1 and 7, half-way 4
    assert read_by(x, y, torch.tensor([[3.9], [4.1]]), torch.tensor([0, 1]), "prototype") == 1.0


def test_means_and_paired_differences_have_student_intervals() -> None:
    mean = mean_over_tasks([1.0, 2.0, 3.0])
    assert mean.value == 2.0
    assert mean.ci95 == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    difference = paired_difference([0.5, 0.7, 0.9], [0.4, 0.6, 0.8])
    assert difference.value == pytest.approx(0.1)
    assert difference.ci95 == pytest.approx(0.0, abs=1e-12)
    assert mean_over_tasks([0.3]).ci95 == 0.0
    with pytest.raises(ValueError, match="got 2 and 3 accuracies"):
        paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


def test_wrong_read_points_and_views_are_errors() -> None:
    rule, problem = Hebbian(), Problem.of(MLP((3, 2)))
    state = rule.init_state(problem, torch.Generator().manual_seed(0))
    stacked, batch = stack_states([state]), torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), pytest.raises(ValueError, match=r"got read points \[2, 1\]"):
        unroll(rule, theta_of(rule), problem, stacked, {"unlabelled": [batch[None]] * 2}, read_points=[2, 1])
    with torch.no_grad(), pytest.raises(ValueError, match=r"got read points \[2\], .* from 0 to at most 1 steps"):
        unroll(rule, theta_of(rule), problem, stacked, {"unlabelled": [batch[None]]}, read_points=[2])
    with pytest.raises(ValueError, match="got 1 batches, expected one for each of 2 inner steps"):
        apply_rule(rule, problem, state, [batch], steps=2)

    class Supervised(Hebbian):
        consumes = ("support_x",)

    with pytest.raises(ValueError, match="expected unlabelled batches alone"):
        apply_rule(Supervised(), problem, state, [], steps=0)


def test_with_one_label_ridge_does_not_favour_long_features() -> None:
    """Leave-one-out would take the largest penalty, by which the class of the longest example wins."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(5)
    length = torch.tensor([0.3, 1.0, 1.0, 1.0, 5.0])[:, None]
    query = length[y.repeat(20)] * (torch.eye(5)[y.repeat(20)] + 0.05 * torch.randn(100, 5, generator=draw))
    support = length * torch.eye(5)
    assert read_by(support, y, query, y.repeat(20)) > 0.95
    scores = RidgeClassifierCV(alphas=PENALTIES).fit(support.double().numpy(), y.numpy())
    assert scores.alpha_ == PENALTIES.max()
