"""The hand-written methods: known answers, independence of tasks, determinism, and that they learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from evaluation.baselines.autoencoders import Decoder, reconstruction_loss
from evaluation.baselines.closed_form import Centroids, Discriminants, Landmarks, PrincipalComponents
from evaluation.baselines.settings import (
    AutoencoderSettings,
    BaselineSettings,
    ContrastiveSettings,
    DiscriminantSettings,
    KMeansSettings,
    LandmarkSettings,
    SupervisedSettings,
    VaeSettings,
    WhiteningSettings,
)
from evaluation.baselines.stacked_training import Draws, minimise, network_parameters
from evaluation.baselines.supervised import Supervised
from evaluation.comparison import compare
from evaluation.evaluation import InnerTraining, base_network
from evaluation.learners import learner_names
from evaluation.methods import BASELINES, MEANING, make_methods
from evaluation.paired_tasks import paired_tasks
from experiment.report.plots import COLOURS
from tasks.dataset import Dataset
from tasks.task import TaskSource
from update_rules.gradient.maml import Maml

INNER = InnerTraining(hidden=(12,), outputs=8, batch=16)
QUICK = BaselineSettings(
    autoencoder=AutoencoderSettings(steps=40, dropped=0.1),
    vae=VaeSettings(steps=40, beta=0.1),
    contrastive=ContrastiveSettings(steps=40),
    supervised=SupervisedSettings(steps=40),
)
TRAINED = ("autoencoder", "vae", "contrastive", "supervised")


def blobs(labeller: str = "true", low: float = 0.0, shots: int = 5) -> TaskSource:
    """Noisy copies of one prototype a class: 5 classes of 40 examples with 20 inputs from ``low`` to ``low`` + 1."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(5).repeat_interleave(40)
    x = torch.rand(5, 20, generator=generator)[y] + 0.3 * torch.randn(200, 20, generator=generator)
    data = Dataset("blobs", x.clamp(0, 1) + low, y, None, tuple("abcde"))
    return TaskSource((data,), ways=4, shots=shots, queries=10, permute=True, labeller=labeller)


def test_every_baseline_beats_chance_and_gives_the_same_twice_whatever_else_is_measured() -> None:
    names = [name for name in BASELINES if name != "untrained_rule"]
    methods = make_methods(names, INNER, QUICK)
    before = torch.get_rng_state()
    found = {one.method: one for one in compare(methods, blobs(), shots=[5], tasks=4, seed=1)}
    assert torch.equal(before, torch.get_rng_state())
    assert list(found) == names
    for name, one in found.items():
        assert np.mean(one.accuracies) > 0.45, name
        assert one.diverged == 0
    alone = [compare({name: methods[name]}, blobs(), shots=[5], tasks=4, seed=1)[0] for name in ("vae", "kmeans")]
    assert alone == [found["vae"], found["kmeans"]]
    assert len({one.drawn for one in found.values()}) == 1


@pytest.mark.parametrize("name", TRAINED)
def test_a_task_is_trained_beside_others_as_alone(name: str) -> None:
    method = make_methods([name], INNER, QUICK)[name]
    tasks = list(paired_tasks(blobs(), 3, seed=0))
    episodes = [task.episode for task in tasks]
    (together,) = method.fit(tasks, episodes)
    ((alone,),) = method.fit(tasks[1:2], episodes[1:2])
    x = episodes[1].query_x
    assert together[1](x).shape == (40, 8)
    torch.testing.assert_close(together[1](x), alone(x), rtol=0, atol=0.05)  # Adam magnifies rounding
    assert (together[0](x) - alone(x)).abs().max() > 0.5
    torch.testing.assert_close(alone(x)[:3], alone(x[:3]), rtol=1e-4, atol=1e-5)  # each example on its own


@pytest.mark.parametrize("hidden", [(), (12, 9)])
def test_networks_of_any_depth_and_inputs_of_any_range_are_trained(hidden: tuple[int, ...]) -> None:
    methods = make_methods(TRAINED, replace(INNER, hidden=hidden), QUICK)
    for found in compare(methods, blobs(low=-3.0), shots=[5], tasks=2, seed=0):
        assert np.mean(found.accuracies) > 0.4, found.method


def test_supervised_training_learns_labels_of_the_support_set_alone() -> None:
    settings = SupervisedSettings(steps=200, dropped=0.0)
    tasks = list(paired_tasks(blobs("shuffled"), 2, seed=0))
    episodes = [task.episode for task in tasks]
    ((first, _),) = Supervised(INNER, settings).fit(tasks, episodes)
    hidden = [episode._replace(query_x=episode.query_x * math.nan, query_y=-episode.query_y) for episode in episodes]
    ((again, _),) = Supervised(INNER, settings).fit(tasks, hidden)
    assert torch.equal(first(episodes[0].query_x), again(episodes[0].query_x))
    by_chance = compare({"supervised": Supervised(INNER, settings)}, blobs("shuffled"), shots=[5], tasks=6, seed=0)
    assert abs(np.mean(by_chance[0].accuracies) - 0.25) < 0.1


def test_whitened_components_have_spread_one_and_a_floor_shrinks_the_small_ones() -> None:
    (task,) = paired_tasks(blobs(), 1, seed=0)
    ((plain,),) = PrincipalComponents(5).fit([task], [task.episode])
    ((white,),) = PrincipalComponents(5, WhiteningSettings(floor=0.0)).fit([task], [task.episode])
    ((floored,),) = PrincipalComponents(5, WhiteningSettings(floor=1.0)).fit([task], [task.episode])
    seen = task.unlabelled
    np.testing.assert_allclose(white(seen).std(0), np.ones(5), rtol=1e-4)
    variance = plain(seen).var(0)
    np.testing.assert_allclose(floored(seen).var(0), variance / (variance + variance.mean()), rtol=1e-4)


def test_centroids_are_found_and_turned_into_the_features_named() -> None:
    y = torch.arange(3).repeat_interleave(30)
    data = Dataset("points", torch.eye(3)[y], y, None, tuple("abc"))
    (task,) = paired_tasks(TaskSource((data,), 3, 2, 2, permute=False), 1, seed=0)
    apart = math.sqrt(2)
    for features, near, far in (("triangle", 2 / 3 * apart, 0), ("distance", 0, -apart), ("square", 0, -2)):
        ((embed,),) = Centroids(8, KMeansSettings(features=features)).fit([task], [task.episode])
        found = embed(torch.eye(3))
        assert found.shape == (3, 3)  # no more centroids than different examples
        expected = [sorted([near, far, far])] * 3
        np.testing.assert_allclose(np.sort(found.numpy(), axis=1), expected, atol=1e-3)


def test_landmarks_tell_apart_curves_that_a_line_through_the_inputs_cannot() -> None:
    generator = torch.Generator().manual_seed(0)
    angle = 2 * math.pi * torch.rand(900, generator=generator)
    y = torch.arange(3).repeat_interleave(300)
    rings = torch.stack([angle.cos(), angle.sin()], 1) * (1.0 + y[:, None])
    data = Dataset("rings", rings, y, None, tuple("abc"))
    source = TaskSource((data,), 3, 5, 20, permute=False)
    near = Landmarks(8, LandmarkSettings(landmarks=60, nearest=3))
    raw = make_methods(["raw"], INNER, QUICK)["raw"]
    found = compare({"landmarks": near, "raw": raw}, source, shots=[5], tasks=4, seed=0)
    by_landmarks, by_line = (np.mean(one.accuracies) for one in found)
    assert by_landmarks > 0.85
    assert by_line < 0.65
    (task,) = paired_tasks(source, 1, seed=0)
    ((embed,),) = near.fit([task], [task.episode])
    assert embed(rings[:7]).shape == (7, 8)
    torch.testing.assert_close(embed(rings)[:3], embed(rings[:3]))


def test_discriminants_shrink_the_direction_in_which_clusters_are_wide() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat_interleave(200)
    noise = torch.randn(600, 2, generator=generator) * torch.tensor([0.05, 1.0])
    data = Dataset("stripes", torch.stack([y.float(), torch.zeros(600)], 1) + noise, y, None, tuple("abc"))
    source = TaskSource((data,), 3, 1, 20, permute=False)
    method = Discriminants(1, DiscriminantSettings(clusters=40, floor=0.0))
    components = PrincipalComponents(1)
    methods = {"discriminants": method, "pca": components}
    found = compare(methods, source, shots=[1], readouts=["prototype"], tasks=6, seed=0)
    by_discriminants, by_components = (np.mean(one.accuracies) for one in found)
    assert by_discriminants > 0.9
    assert by_components < 0.6
    (task,) = paired_tasks(source, 1, seed=0)
    ((embed,),) = method.fit([task], [task.episode])
    moved = embed(torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]]))
    along, across = (moved[1] - moved[0]).abs(), (moved[2] - moved[0]).abs()
    assert along > 3 * across


def test_discriminants_of_one_input_whose_covariance_has_no_dimensions() -> None:
    y = torch.arange(3).repeat_interleave(200)
    noise = 0.05 * torch.randn(600, 1, generator=torch.Generator().manual_seed(0))
    line = Dataset("line", y[:, None] + noise, y, None, tuple("abc"))
    (task,) = paired_tasks(TaskSource((line,), 3, 1, 20, permute=False), 1, seed=0)
    ((one,),) = Discriminants(1, DiscriminantSettings(clusters=40, floor=0.0)).fit([task], [task.episode])
    assert one(line.x[:5]).shape == (5, 1)


def test_the_reconstruction_loss_is_the_likelihood_that_the_inputs_allow() -> None:
    x = torch.stack([torch.rand(6, 4), torch.rand(6, 4) - 0.5])
    said = torch.randn(2, 6, 4)
    squared = (said - x).square().sum(-1)
    found = reconstruction_loss(said, x, "bernoulli")
    expected = F.binary_cross_entropy_with_logits(said[0], x[0], reduction="none").sum(-1)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], squared[1])
    torch.testing.assert_close(reconstruction_loss(said, x, "squared"), squared)


def test_the_decoder_mirrors_the_encoder() -> None:
    (task,) = paired_tasks(blobs(), 1, seed=0)
    decoder = Decoder.mirror(base_network(task, replace(INNER, hidden=(12, 9))))
    shapes = {name: tuple(value.shape) for name, value in decoder.parameters(Draws.of([task])).items()}
    assert [shapes[f"decoder.w{layer}"] for layer in (1, 2)] == [(1, 8, 9), (1, 9, 12)]
    assert shapes["said.w1"] == (1, 12, 20)
    linear = Decoder.mirror(base_network(task, replace(INNER, hidden=(12, 9), activation="winners_linear")))
    assert linear.hidden is not None
    assert linear.hidden.activation == "winners"  # all of its layers are hidden ones


def test_descent_finds_the_minimum_of_every_task() -> None:
    aims = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    found = minimise({"p": torch.zeros(2, 2)}, lambda p: (p["p"] - aims).square().sum(1), steps=300, learning_rate=0.1)
    torch.testing.assert_close(found["p"], aims, atol=1e-2, rtol=0)
    assert not found["p"].requires_grad
    draws = Draws.of(list(paired_tasks(blobs(), 2, seed=0)))
    weights = network_parameters("n", (400, 300), draws)["n.w1"]
    assert weights.shape == (2, 400, 300)
    assert float(weights.std()) == pytest.approx(0.05, rel=0.02)


def test_every_method_has_a_meaning_and_a_colour_and_wrong_names_are_errors() -> None:
    assert set(COLOURS) == set(MEANING) | set(learner_names(Maml))
    with pytest.raises(ValueError, match=r"unknown method 'kmean', expected rule, .*\(did you mean kmeans\?\)"):
        make_methods(["kmean"], INNER, QUICK)
    with pytest.raises(ValueError, match="got method rule without a rule"):
        make_methods(["rule"], INNER, QUICK)


def test_features_for_several_shots_and_readouts_are_those_of_a_run_of_each() -> None:
    methods = make_methods(["raw", "supervised"], INNER, QUICK)
    many = compare(methods, blobs(shots=10), shots=[1, 5, 10], readouts=["ridge", "prototype"], tasks=3, seed=2)
    assert len(many) == 2 * 3 * 2
    for shots in (1, 5):
        alone = compare(methods, blobs(shots=shots), shots=[shots], readouts=["prototype"], tasks=3, seed=2)
        assert alone == [one for one in many if one.shots == shots and one.readout == "prototype"]
    by_shots = [np.mean(one.accuracies) for one in many if (one.method, one.readout) == ("raw", "ridge")]
    assert 0.25 < by_shots[0] < by_shots[2]
