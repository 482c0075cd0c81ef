"""The hand-written methods: known answers, independence of tasks, determinism, and that they learn."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.baselines.autoencoders import Decoder, reconstruction_loss
from evaluation.baselines.closed_form import discriminants, kmeans, landmarks, principal_components
from evaluation.baselines.networks import dense_network
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
from evaluation.baselines.stacked_training import Draws, minimise, weights
from evaluation.baselines.supervised import Supervised
from evaluation.comparison import compare
from evaluation.method import Fitted, Method, TaskByTask
from evaluation.methods import BASELINES, CLASSIFIED, CLASSIFIERS, Company, make_baselines, meaning
from evaluation.paired_tasks import PairedTask, paired_tasks
from evaluation.probes import OWN
from evaluation.protocol import Use
from evaluation.rules import RuleMethod
from experiment.report.plots import COLOURS
from inner_loop.networks.conv4 import Conv4, Conv4s
from inner_loop.networks.mlp import MLP, MLPs
from outer_loop.readouts.head import Head
from outer_loop.readouts.prototypes import Prototypes
from tasks.dataset import Dataset
from tasks.labellers.registry import LABELLERS
from tasks.source import TaskSource
from tasks.task import Episode
from update_rules.contract import Rule
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian

USE = Use(MLPs(((12,),), outputs=8), batch=16)
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
    return TaskSource((data,), ways=4, shots=shots, queries=10, permute=True, labeller=LABELLERS.make(labeller, {}))


def baselines(names: list[str], use: Use = USE, rule: Rule | None = None) -> dict[str, Method]:
    return make_baselines(names, Company(use, QUICK, rule, (use.steps,)))


def embed(fitted: Fitted, x: Tensor) -> Tensor:
    """The features of ``x`` beside no queries."""
    return fitted(x, x[:0])[0]


def test_every_baseline_beats_chance_and_gives_the_same_twice_whatever_else_is_measured() -> None:
    names = [name for name in BASELINES if name != "untrained_rule"]
    methods = baselines(names)
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
    method = baselines([name])[name]
    tasks = list(paired_tasks(blobs(), 3, seed=0))
    episodes = [task.episode for task in tasks]
    (together,) = method.fit(tasks, episodes)
    ((alone,),) = method.fit(tasks[1:2], episodes[1:2])
    x = episodes[1].query_x
    beside, by_itself = embed(together[1], x), embed(alone, x)
    assert beside.shape == (40, 8)
    torch.testing.assert_close(beside, by_itself, rtol=0, atol=0.05)  # Adam magnifies rounding
    assert (embed(together[0], x) - by_itself).abs().max() > 0.5
    torch.testing.assert_close(by_itself[:3], embed(alone, x[:3]), rtol=1e-4, atol=1e-5)  # each example on its own


@pytest.mark.parametrize("hidden", [(), (12, 9)])
def test_networks_of_any_depth_and_inputs_of_any_range_are_trained(hidden: tuple[int, ...]) -> None:
    methods = baselines(list(TRAINED), replace(USE, network=MLPs((hidden,), outputs=8)))
    for found in compare(methods, blobs(low=-3.0), shots=[5], tasks=2, seed=0):
        assert np.mean(found.accuracies) > 0.4, found.method


def test_supervised_training_learns_labels_of_the_support_set_alone() -> None:
    settings = SupervisedSettings(steps=200, dropped=0.0)
    tasks = list(paired_tasks(blobs("shuffled"), 2, seed=0))
    episodes = [task.episode for task in tasks]
    ((first, _),) = Supervised(USE, settings).fit(tasks, episodes)
    hidden = [episode._replace(query_x=episode.query_x * math.nan, query_y=-episode.query_y) for episode in episodes]
    ((again, _),) = Supervised(USE, settings).fit(tasks, hidden)
    assert torch.equal(embed(first, episodes[0].query_x), embed(again, episodes[0].query_x))
    by_chance = compare({"supervised": Supervised(USE, settings)}, blobs("shuffled"), shots=[5], tasks=6, seed=0)
    assert abs(np.mean(by_chance[0].accuracies) - 0.25) < 0.1


def test_whitened_components_have_spread_one_and_a_floor_shrinks_the_small_ones() -> None:
    (task,) = paired_tasks(blobs(), 1, seed=0)
    plain = principal_components(task, 5)
    white = principal_components(task, 5, WhiteningSettings(floor=0.0))
    floored = principal_components(task, 5, WhiteningSettings(floor=1.0))
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
        found = kmeans(task, 8, KMeansSettings(features=features))(torch.eye(3))
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
    near = TaskByTask(lambda task: landmarks(task, 8, LandmarkSettings(landmarks=60, nearest=3)))
    raw = baselines(["raw"])["raw"]
    found = compare({"landmarks": near, "raw": raw}, source, shots=[5], tasks=4, seed=0)
    by_landmarks, by_line = (np.mean(one.accuracies) for one in found)
    assert by_landmarks > 0.85
    assert by_line < 0.65
    (task,) = paired_tasks(source, 1, seed=0)
    ((fitted,),) = near.fit([task], [task.episode])
    assert embed(fitted, rings[:7]).shape == (7, 8)
    torch.testing.assert_close(embed(fitted, rings)[:3], embed(fitted, rings[:3]))


def test_discriminants_shrink_the_direction_in_which_clusters_are_wide() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(3).repeat_interleave(200)
    noise = torch.randn(600, 2, generator=generator) * torch.tensor([0.05, 1.0])
    data = Dataset("stripes", torch.stack([y.float(), torch.zeros(600)], 1) + noise, y, None, tuple("abc"))
    source = TaskSource((data,), 3, 1, 20, permute=False)
    method = TaskByTask(lambda task: discriminants(task, 1, DiscriminantSettings(clusters=40, floor=0.0)))
    components = TaskByTask(lambda task: principal_components(task, 1))
    methods = {"discriminants": method, "pca": components}
    found = compare(methods, source, shots=[1], readouts=["prototype"], tasks=6, seed=0)
    by_discriminants, by_components = (np.mean(one.accuracies) for one in found)
    assert by_discriminants > 0.9
    assert by_components < 0.6
    (task,) = paired_tasks(source, 1, seed=0)
    ((fitted,),) = method.fit([task], [task.episode])
    moved = embed(fitted, torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]]))
    along, across = (moved[1] - moved[0]).abs(), (moved[2] - moved[0]).abs()
    assert along > 3 * across


def test_discriminants_of_one_input_whose_covariance_has_no_dimensions() -> None:
    y = torch.arange(3).repeat_interleave(200)
    noise = 0.05 * torch.randn(600, 1, generator=torch.Generator().manual_seed(0))
    line = Dataset("line", y[:, None] + noise, y, None, tuple("abc"))
    (task,) = paired_tasks(TaskSource((line,), 3, 1, 20, permute=False), 1, seed=0)
    assert discriminants(task, 1, DiscriminantSettings(clusters=40, floor=0.0))(line.x[:5]).shape == (5, 1)


def test_the_reconstruction_loss_is_the_likelihood_that_the_inputs_allow() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 6, 4, generator=generator) - torch.tensor([0.0, 0.5])[:, None, None]
    said = torch.randn(2, 6, 4, generator=generator)
    squared = (said - x).square().sum(-1)
    found = reconstruction_loss(said, x, "bernoulli")
    expected = F.binary_cross_entropy_with_logits(said[0], x[0], reduction="none").sum(-1)
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], squared[1])
    torch.testing.assert_close(reconstruction_loss(said, x, "squared"), squared)


def test_the_decoder_mirrors_the_encoder() -> None:
    (task,) = paired_tasks(blobs(), 1, seed=0)
    decoder = Decoder.mirror(dense_network(task, replace(USE, network=MLPs(((12, 9),), outputs=8))))
    shapes = {name: tuple(value.shape) for name, value in decoder.parameters(Draws.of([task])).items()}
    assert [shapes[f"decoder.w{layer}"] for layer in (1, 2)] == [(1, 8, 9), (1, 9, 12)]
    assert shapes["said.w1"] == (1, 12, 20)
    family = MLPs(((12, 9),), outputs=8, activations=("winners_linear",))
    linear = Decoder.mirror(dense_network(task, replace(USE, network=family)))
    assert linear.hidden is not None
    assert linear.hidden.activation == "winners"  # all of its layers are hidden ones
    with pytest.raises(ValueError, match="got a network conv4, expected mlp, whose layers an autoencoder"):
        Decoder.mirror(Conv4(16))


def test_descent_finds_the_minimum_of_every_task() -> None:
    aims = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    found = minimise({"p": torch.zeros(2, 2)}, lambda p: (p["p"] - aims).square().sum(1), steps=300, learning_rate=0.1)
    torch.testing.assert_close(found["p"], aims, atol=1e-2, rtol=0)
    assert not found["p"].requires_grad
    draws = Draws.of(list(paired_tasks(blobs(), 2, seed=0)))
    drawn = weights("n", (400, 300), draws)["n.w1"]
    assert drawn.shape == (2, 400, 300)
    assert float(drawn.std()) == pytest.approx(0.05, rel=0.02)


def test_every_method_has_a_meaning_and_a_colour_and_wrong_names_are_errors() -> None:
    names = ["rule", *BASELINES, *CLASSIFIED]
    assert set(COLOURS) == set(names)
    assert all(map(meaning, names))
    assert meaning("raw_nearest") == "the class of the nearest support example on the inputs"
    with pytest.raises(ValueError, match=r"unknown baseline 'kmean', expected untrained_rule, .* mean kmeans\?"):
        baselines(["kmean"])
    with pytest.raises(ValueError, match=r"unknown baseline 'raw_tree', .*_PROBE behind it, of ridge, logistic, proto"):
        baselines(["raw_tree"])
    with pytest.raises(ValueError, match="got untrained_rule without a rule"):
        baselines(["untrained_rule"])


def test_features_for_several_shots_and_readouts_are_those_of_a_run_of_each() -> None:
    methods = baselines(["raw", "supervised"])
    many = compare(methods, blobs(shots=10), shots=[1, 5, 10], readouts=["ridge", "prototype"], tasks=3, seed=2)
    assert len(many) == 2 * 3 * 2
    for shots in (1, 5):
        alone = compare(methods, blobs(shots=shots), shots=[shots], readouts=["prototype"], tasks=3, seed=2)
        assert alone == [one for one in many if one.shots == shots and one.readout == "prototype"]
    by_shots = [np.mean(one.accuracies) for one in many if (one.method, one.readout) == ("raw", "ridge")]
    assert 0.25 < by_shots[0] < by_shots[2]


def test_a_probe_behind_a_name_is_its_own_readout_and_no_other() -> None:
    methods = baselines(["kmeans", *(f"kmeans_{probe}" for probe in CLASSIFIERS)])
    found = compare(methods, blobs(), shots=[1, 5], readouts=[*CLASSIFIERS, OWN], tasks=3, seed=0)
    by_place = {(one.method, one.shots, one.readout): one.accuracies for one in found}
    assert len(by_place) == len(found) == 2 * (3 + 3)
    for shots in (1, 5):
        for probe in CLASSIFIERS:
            assert by_place[f"kmeans_{probe}", shots, OWN] == by_place["kmeans", shots, probe]


def rule_methods() -> dict[str, tuple[RuleMethod, bool]]:
    """A rule of each kind on tasks of 20 inputs and 4 ways, and whether its features may depend on other queries."""
    dense = Use(MLPs(((12,),), outputs=8), steps=3, batch=16)
    support = replace(dense, normalisation="support", readout=Head())
    maml = Maml(layout(MLP((20, 12, 4)).shapes))
    proto = ProtoNet(layout(MLP((20, 12, 8)).shapes))
    return {
        "hebbian": (RuleMethod(Hebbian(), dense, (0, 3)), False),
        "maml": (RuleMethod(maml, support, (0, 3)), False),
        "maml by the batch": (RuleMethod(maml, replace(support, normalisation="batch"), (3,)), True),
        "protonet": (RuleMethod(proto, replace(support, readout=Prototypes()), (3,)), False),
    }


def every_method() -> dict[str, tuple[Method, bool]]:
    """Every baseline, some by a probe, and rules; and whether features of a query may depend on the others."""
    names = [*BASELINES, *(f"{name}_nearest" for name in ("raw", "kmeans", "supervised"))]
    found: dict[str, tuple[Method, bool]] = {
        name: (method, False) for name, method in baselines(names, rule=Hebbian()).items()
    }
    (found["random network of no rule"],) = ((one, False) for one in baselines(["random_network"]).values())
    maml, _ = rule_methods()["maml"]
    company = baselines(["untrained_rule", "random_network"], maml.use, maml.rule)
    return found | {f"{name} of maml": (one, False) for name, one in company.items()} | rule_methods()


@pytest.mark.parametrize("name", list(every_method()))
def test_no_method_sees_the_classes_of_queries(name: str) -> None:
    method, transductive = every_method()[name]
    tasks = list(paired_tasks(blobs(), 2, seed=0))
    episodes = [task.episode for task in tasks]
    relabelled = [episode._replace(query_y=(episode.query_y + 1) % 4) for episode in episodes]

    def seen(fitted_to: list[Episode], rows: slice = slice(None)) -> list[tuple[Tensor, ...]]:
        reads = method.fit(tasks, fitted_to)
        return [
            fitted(episode.support_x, episode.query_x[rows])
            for read in reads
            for fitted, episode in zip(read, episodes, strict=True)
        ]

    for first, second in zip(seen(episodes), seen(relabelled), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    if not transductive:  # and a query's features are its own
        for whole, some in zip(seen(episodes), seen(episodes, slice(3)), strict=True):
            torch.testing.assert_close(whole[1][:3], some[1], rtol=1e-4, atol=1e-5)
    else:
        assert not torch.allclose(seen(episodes)[0][1][:3], seen(episodes, slice(3))[0][1], atol=1e-3)


def test_labels_of_the_support_set_reach_those_alone_that_say_so() -> None:
    tasks = list(paired_tasks(blobs(), 2, seed=0))
    episodes = [task.episode for task in tasks]
    relabelled = [episode._replace(support_y=(episode.support_y + 1) % 4) for episode in episodes]
    for name, (method, _) in every_method().items():
        first, second = (
            method.fit(tasks, some)[-1][0](episodes[0].support_x, episodes[0].query_x)
            for some in (episodes, relabelled)
        )
        same = torch.equal(first[1], second[1])
        assert same or method.uses_episodes, name
        assert same == (not name.startswith(("supervised", "untrained_rule of maml", "maml"))), name


def images() -> PairedTask:
    """A task of images of 8 × 8 pixels."""
    generator = torch.Generator().manual_seed(0)
    data = Dataset("images", torch.rand(60, 64, generator=generator), torch.arange(60) % 3, (8, 8), tuple("abc"))
    return PairedTask(TaskSource((data,), ways=3, shots=2, queries=4, permute=False), 0, 0)


@pytest.mark.parametrize("gives", ["logits", "features"])
def test_the_random_network_of_a_learned_start_is_not_the_start(gives: str) -> None:
    """It is drawn at random for each task, below the head, so that probes can read it."""
    task = images()
    network = Conv4(8, filters=5, outputs=3 if gives == "logits" else 0)
    rule: Rule = Maml(layout(network.shapes)) if gives == "logits" else ProtoNet(layout(network.shapes))
    use = Use(
        Conv4s(filters=5), steps=2, normalisation="support", readout=Head() if gives == "logits" else Prototypes()
    )
    random = baselines(["random_network", "random_network_prototype"], use, rule)
    support_x, _, query_x, _ = task.episode
    ((fitted,),) = random["random_network"].fit([task], [task.episode])
    other = PairedTask(task.source, 0, 1)
    ((again,),) = random["random_network"].fit([other], [other.episode])
    learned = RuleMethod(rule, use, (0,)).learn([task], [task.episode])[0][0]
    below = replace(learned, problem=rule.embedder(learned.problem)[0], state=rule.embedder(learned.problem)[1])
    with torch.no_grad():
        _, started = below.features_by(support_x, query_x)
    found = fitted(support_x, query_x)
    assert [part.shape for part in found] == [(6, 5), (12, 5)]
    assert not torch.allclose(found[1], started, atol=1e-3)
    assert not torch.allclose(found[1], again(support_x, query_x)[1], atol=1e-3)
    assert random["random_network"].classifier(OWN) is None
    assert random["random_network_prototype"].classifier(OWN) is not None


def test_what_has_no_averages_of_meta_training_goes_by_the_support_set() -> None:
    task = images()
    rule = ProtoNet(layout(Conv4(8, filters=5).shapes), running=True)
    support_x, _, query_x, _ = task.episode
    found = []
    for policy in ("running", "support"):
        use = Use(Conv4s(filters=5), steps=0, normalisation=policy, readout=Prototypes())
        for method in [
            *baselines(["untrained_rule", "random_network"], use, rule).values(),
            RuleMethod(rule, use, (0,)),
        ]:
            ((fitted,),) = method.fit([task], [task.episode])
            found.append(fitted(support_x, query_x)[1])
    assert torch.equal(found[0], found[3])
    assert torch.equal(found[1], found[4])
    assert not torch.allclose(found[2], found[5], atol=1e-3)
