"""Few-shot evaluation: pairing, determinism, the readout's known answers, and what happens to a rule that diverges."""

import math

import numpy as np
import pytest
import torch

from evaluation import evaluation
from evaluation.baselines.closed_form import PrincipalComponents, Raw
from evaluation.comparison import compare
from evaluation.evaluation import InnerTraining, evaluate_rule, measure_rule, train_task
from evaluation.methods import METHODS
from evaluation.paired_tasks import NETWORK, PairedTask, paired_tasks
from evaluation.probes import READOUTS, few_shot_accuracy
from evaluation.source_evaluation import evaluate_source
from evaluation.statistics import mean_over_tasks, paired_difference
from inner_loop.apply import apply_rule, apply_rule_to_tasks
from inner_loop.networks.mlp import MLP
from inner_loop.state import stack_states
from tasks.dataset import Dataset
from tasks.task import TaskSource
from update_rules.contract import Network, Rule, State, Views
from update_rules.local.hebbian import Hebbian
from update_rules.local.neuron_local import NeuronLocal

INNER = InnerTraining(hidden=(12,), outputs=8, steps=8, batch=16)


def blobs(inputs: int = 20, classes: int = 5, spread: float = 0.25, name: str = "blobs") -> Dataset:
    """Noisy copies of one prototype a class, 30 examples each, in [0, 1]."""
    generator = torch.Generator().manual_seed(inputs)
    y = torch.arange(classes).repeat_interleave(30)
    prototypes = torch.rand(classes, inputs, generator=generator)
    x = (prototypes[y] + spread * torch.randn(len(y), inputs, generator=generator)).clamp(0, 1)
    return Dataset(name, x, y, None, tuple(str(c) for c in range(classes)))


def blob_source(labeller: str = "true", spread: float = 0.4) -> TaskSource:
    return TaskSource((blobs(spread=spread),), ways=4, shots=5, queries=10, permute=True, labeller=labeller)


class Exploding(Rule):
    """A rule whose network becomes infinite where a batch starts with an input above 0.9."""

    name = "exploding"

    def __init__(self) -> None:
        super().__init__()
        self.config = {}

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        low, up = network.sizes
        return {"w1": torch.randn(low, up, generator=generator), "b1": torch.zeros(up), "v1": torch.zeros(low, up)}

    def step(self, network: Network, state: State, views: Views) -> State:
        grow = torch.where(views["unlabelled"][0, 0] > 0.9, math.inf, 1.0)
        return {**state, "w1": state["w1"] * grow}


def test_every_method_is_measured_on_the_same_tasks_and_twice_the_same() -> None:
    rule = NeuronLocal(hidden=4)
    with torch.no_grad():
        rule.mixing += 0.1  # stands for a θ that was learned
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = evaluate_source(rule, blob_source(), INNER, tasks=6, seed=3)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002
    assert tuple(first.accuracies) == METHODS
    assert first == evaluate_source(rule, blob_source(), INNER, tasks=6, seed=3)
    fewer = evaluate_source(rule, blob_source(), INNER, tasks=2, seed=3)
    assert fewer.accuracies == {method: values[:2] for method, values in first.accuracies.items()}
    assert len({found.drawn for found in first.measured}) == 1
    assert fewer.measured[0].drawn != first.measured[0].drawn
    other = evaluate_source(rule, blob_source(), INNER, tasks=6, seed=4)
    assert all(other.accuracies[method] != first.accuracies[method] for method in ("rule", "random_network", "raw"))
    assert first.accuracies["rule"] != first.accuracies["untrained_rule"]


def test_an_untrained_rule_ties_with_itself_and_no_steps_are_the_random_network() -> None:
    found = evaluate_source(NeuronLocal(hidden=4, seed=1), blob_source(), INNER, tasks=3, seed=0).accuracies
    assert found["rule"] == found["untrained_rule"]
    still = InnerTraining(hidden=(12,), outputs=8, steps=0, batch=16)
    found = evaluate_source(NeuronLocal(hidden=4), blob_source(), still, tasks=3, seed=0).accuracies
    assert found["rule"] == found["random_network"]


def test_training_tasks_together_equals_training_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, network = NeuronLocal(hidden=4), MLP((20, 12, 8))
    shared = list(paired_tasks(blob_source(), 3, seed=5))
    starts = [rule.init_state(network, task.generator(NETWORK)) for task in shared]
    streams = [[batch for batch, _ in zip(task.stream(16), range(3), strict=False)] for task in shared]
    together = apply_rule_to_tasks(
        rule,
        network,
        stack_states(starts),
        [torch.stack(step) for step in zip(*streams, strict=True)],
        read_points=[1, 3],
    )
    for index, (start, stream) in enumerate(zip(starts, streams, strict=True)):
        alone = apply_rule(rule, network, start, stream)
        for name, value in alone.items():
            torch.testing.assert_close(together[-1][name][index], value, rtol=1e-3, atol=1e-4)
    by_ten = evaluate_rule_on_blobs(rule)
    monkeypatch.setattr(evaluation, "TASKS_AT_ONCE", 2)
    assert evaluate_rule_on_blobs(rule) == pytest.approx(by_ten, abs=0.02)


def evaluate_rule_on_blobs(rule: Rule) -> dict[int, float]:
    inner = InnerTraining(hidden=(12,), outputs=8, steps=5, batch=16)
    return evaluate_rule(rule, blob_source(), inner, read_every=2, tasks=5, seed=0)


def test_evaluate_rule_reads_before_the_first_step_at_the_read_points_and_at_the_end() -> None:
    accuracy = evaluate_rule_on_blobs(Hebbian())
    assert list(accuracy) == [0, 2, 4, 5]
    assert all(0.25 < value <= 1 for value in accuracy.values())


def test_curves_by_inner_step_are_those_of_evaluate_rule() -> None:
    inner = InnerTraining(hidden=(12,), outputs=8, steps=5, batch=16)
    found = evaluate_source(Hebbian(), blob_source(), inner, tasks=5, seed=0, read_every=2)
    curves = found.curves()
    assert {step: mean.value for step, mean in curves["rule"].items()} == evaluate_rule_on_blobs(Hebbian())
    assert curves["untrained_rule"] == curves["rule"]  # this rule has not been trained
    coarse = evaluate_source(Hebbian(), blob_source(), inner, tasks=5, seed=0)
    assert coarse.accuracies == found.accuracies
    assert list(coarse.curves()["rule"]) == [0, 5]


def test_shuffled_labels_leave_nothing_to_find() -> None:
    source = TaskSource((blobs(spread=0.02),), 4, shots=5, queries=20, permute=False, labeller="shuffled")
    found = evaluate_source(Hebbian(), source, INNER, tasks=20, seed=0).accuracies
    for method, values in found.items():
        assert abs(np.mean(values) - 0.25) < 0.06, method
    easy = TaskSource((blobs(spread=0.02),), 4, shots=5, queries=20, permute=False)
    assert np.mean(evaluate_source(Hebbian(), easy, INNER, tasks=3, seed=0).accuracies["raw"]) == 1.0


def test_a_network_that_diverges_guesses_and_leaves_the_others_alone() -> None:
    inner = InnerTraining(hidden=(), outputs=8, steps=3, batch=8)
    found = measure_rule(Exploding(), blob_source(), inner, read_points=[0, 3], tasks=12, seed=0)
    assert 0 < found.diverged < 12
    changed = [a != b for a, b in zip(found.by_step[0], found.by_step[3], strict=True)]
    assert sum(changed) == found.diverged
    assert sum(accuracy == 0.25 for accuracy in found.by_step[3]) == found.diverged
    with pytest.raises(ValueError, match=r"rule exploding: w1 of the base network not finite after inner step \d"):
        apply_rule(
            Exploding(), MLP((3, 2)), Exploding().init_state(MLP((3, 2)), torch.Generator()), [torch.ones(4, 3)] * 5
        )


def test_one_task_is_trained_as_in_the_evaluation() -> None:
    task = PairedTask(blob_source(), 0, 0)
    start, end = train_task(Hebbian(), task, INNER, [0, 2])
    assert start["w1"].shape == (20, 12)
    batches = [batch for batch, _ in zip(task.stream(16), range(2), strict=False)]
    alone = apply_rule(Hebbian(), MLP((20, 12, 8)), start, batches)
    torch.testing.assert_close(end["w2"], alone["w2"], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(start["w2"], end["w2"], atol=1e-3)


def test_sources_of_mixed_widths_keep_the_order_of_tasks() -> None:
    both = TaskSource((blobs(20), blobs(7, name="narrow")), ways=4, shots=5, queries=10, permute=True)
    widths = {task.task.inputs for task in paired_tasks(both, 8, seed=0)}
    assert widths == {7, 20}
    found = evaluate_source(Hebbian(), both, INNER, tasks=8, seed=0)
    again = evaluate_source(Hebbian(), both, INNER, tasks=3, seed=0)
    assert found.accuracies["rule"][:3] == pytest.approx(again.accuracies["rule"], abs=0.051)


def test_paired_tasks_draw_the_stream_and_the_episode_apart() -> None:
    task = PairedTask(blob_source(), 0, 0)
    episode = task.episode
    next(task.stream(4))
    assert torch.equal(PairedTask(blob_source(), 0, 0).episode.query_x, episode.query_x)
    assert task.unlabelled.shape == (120, 20)
    assert not torch.equal(PairedTask(blob_source(), 0, 1).episode.query_x, episode.query_x)


def test_all_principal_components_do_what_the_raw_inputs_do() -> None:
    shared = list(paired_tasks(blob_source(), 1, seed=0))
    ((embed,),) = PrincipalComponents(outputs=99).fit(shared, [shared[0].episode])
    assert embed(shared[0].episode.query_x).shape == (40, 20)
    methods = {"pca": PrincipalComponents(outputs=99), "raw": Raw()}
    pca, raw = compare(methods, blob_source(), shots=[5], tasks=4, seed=0)
    assert pca.accuracies == raw.accuracies


def test_the_readout_knows_easy_answers_and_ignores_shift_and_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat(8)
    x = torch.nn.functional.one_hot(y, 3).float() + 0.8 * torch.randn(24, 3, generator=generator)
    query_y = torch.arange(3).repeat(50)
    query = torch.nn.functional.one_hot(query_y, 3).float() + 0.8 * torch.randn(150, 3, generator=generator)
    accuracy = few_shot_accuracy(x, y, query, query_y)
    assert 0.5 < accuracy < 0.95
    one_by_one = [few_shot_accuracy(x, y, query[[i]], query_y[[i]]) for i in range(0, 150, 2)]
    assert np.mean(one_by_one) == pytest.approx(few_shot_accuracy(x, y, query[::2], query_y[::2]))
    assert few_shot_accuracy(1e4 * x + 7, y, 1e4 * query + 7, query_y) == accuracy
    one_hot = torch.eye(3).repeat(8, 1)
    assert few_shot_accuracy(one_hot, y, torch.eye(3), torch.arange(3)) == 1.0
    assert few_shot_accuracy(x * math.nan, y, query, query_y) == pytest.approx(1 / 3)
    assert few_shot_accuracy(torch.ones(24, 2), y, torch.ones(150, 2), query_y) == pytest.approx(1 / 3)


@pytest.mark.parametrize("readout", list(READOUTS))
def test_every_readout_tells_easy_classes_apart_from_one_label_each_and_more(readout: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for shots in (1, 2, 6):
        y = torch.arange(4).repeat(shots)
        x, query = (torch.eye(4)[y] + 0.05 * torch.randn(len(y), 4, generator=generator) for _ in range(2))
        assert few_shot_accuracy(x, y, query, y, readout) == 1.0
        assert few_shot_accuracy(100 * x - 7, y, 100 * query - 7, y, readout) == 1.0
        assert few_shot_accuracy(x * math.nan, y, query, y, readout) == 0.25
        assert few_shot_accuracy(torch.ones_like(x), y, query, y, readout) <= 0.5


def test_prototypes_are_class_means() -> None:
    x, y = torch.tensor([[0.0], [2.0], [4.0], [10.0]]), torch.tensor([0, 0, 1, 1])  # means 1 and 7, half-way 4
    assert few_shot_accuracy(x, y, torch.tensor([[3.9], [4.1]]), torch.tensor([0, 1]), "prototype") == 1.0


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
    rule, network = Hebbian(), MLP((3, 2))
    state = stack_states([rule.init_state(network, torch.Generator().manual_seed(0))])
    with pytest.raises(ValueError, match=r"got read points \[2, 1\]"):
        apply_rule_to_tasks(rule, network, state, [], read_points=[2, 1])
    with pytest.raises(ValueError, match="got 1 batches, expected 2"):
        apply_rule_to_tasks(rule, network, state, [torch.rand(1, 4, 3)], read_points=[2])

    class Supervised(Hebbian):
        consumes = ("support",)

    with pytest.raises(ValueError, match="expected unlabelled batches alone"):
        apply_rule(Supervised(), network, state, [])
