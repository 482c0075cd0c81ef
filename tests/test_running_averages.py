"""Running averages of batch normalisation, as prototypical networks have them at test."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from few_shot_settings import PROTONET
from runs import Arguments, trainer_of
from torch import nn

from experiment.build import use_of_config
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.mlp import MLP
from inner_loop.unroll import theta_of
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.readouts.contract import Learned
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.prototypes import Prototypes
from outer_loop.running_averages import MOMENTUM, follow, met_by
from outer_loop.trainer import Trainer
from unsupervised_update_rules.commands import evaluate, meta_train
from update_rules.contract import Network, Problem
from update_rules.gradient.learned_start import layout
from update_rules.gradient.protonet import ProtoNet
from update_rules.rule_file import load_rule, read_header

RUNNING = (*PROTONET, "network.normalisation=running")
START = {"t": torch.zeros(())}
NETWORKS = (Conv4(8, filters=3), MLP((16, 5, 4)))


def followed(network: Network, batches: int) -> tuple[ProtoNet, list[torch.Tensor]]:
    """A rule whose averages followed ``batches`` batches of 12 examples, and these."""
    rule = ProtoNet(layout(network.shapes), running=True)
    draw = torch.Generator().manual_seed(1)
    seen = [torch.rand(12, network.sizes[0], generator=draw) for _ in range(batches)]
    with torch.no_grad():
        for x in seen:
            follow(rule, rule.observed(Problem.of(network), START, x))
    return rule, seen


def test_averages_are_those_of_torch() -> None:
    network = NETWORKS[0]
    rule, seen = followed(network, 4)
    convolution = nn.Conv2d(1, 3, 3, stride=2, padding=1, bias=False)
    norm = nn.BatchNorm2d(3, momentum=MOMENTUM)
    with torch.no_grad():
        convolution.weight.copy_(rule.start["w1"].reshape(3, 3, 1, 3).permute(3, 2, 0, 1))
        places = 0
        for x in seen:
            linear = convolution(x.reshape(-1, 1, 8, 8))
            places = linear.numel() // 3
            norm(linear)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    torch.testing.assert_close(rule.get_buffer("mean1"), norm.running_mean)
    kept = (1 - MOMENTUM) ** len(seen)  # torch averages unbiased variances; the start, 1, has no bias
    unbiased = (rule.get_buffer("var1") - kept) * places / (places - 1) + kept
    torch.testing.assert_close(unbiased, norm.running_var)


@pytest.mark.parametrize("network", NETWORKS)
def test_features_by_averages_are_each_examples_own_and_those_of_the_batch_that_was_met(network: Network) -> None:
    rule, (x,) = followed(network, 1)
    for _ in range(200):
        follow(rule, rule.observed(Problem.of(network), START, x))
    with torch.no_grad():
        problem, averages = Problem.of(network), rule.running()
        averaged = rule.features(problem, START, x, averages)
        torch.testing.assert_close(averaged, rule.features(problem, START, x), rtol=1e-4, atol=1e-5)
        for row, example in zip(averaged, x, strict=True):
            torch.testing.assert_close(rule.features(problem, START, example[None], averages)[0], row)
        assert not torch.allclose(rule.features(problem, START, x[:4]), averaged[:4], atol=1e-3)


def drawn(run: Trainer) -> list[TruncatedUnroll]:
    """What the run's next outer step will draw, which it draws again then."""
    [turn] = run.state.trajectories
    before = [one.generator.get_state() for one in turn]
    unrolls = [one.unroll([1], run.parts.trajectories.device, ()) for one in turn]
    for one, state in zip(turn, before, strict=True):
        one.generator.set_state(state)
    return unrolls


def test_training_goes_by_batch_and_the_averages_follow_it(tiny_config: Arguments) -> None:
    few = (*RUNNING, "outer.tasks_per_step=2")
    run = trainer_of(tiny_config("run", *few))
    plain = trainer_of(tiny_config("plain", *few, "network.normalisation=batch"))
    unrolls = drawn(run)
    network = unrolls[0].problem.network
    weights = {name: value.detach().clone() for name, value in run.state.rule.weights(network, {}).items()}
    together = [torch.cat([one.episodes[0].support_x, one.episodes[0].query_x]) for one in unrolls]
    of_tasks = [network.forward(weights, x).statistics() for x in together]
    assert len(of_tasks) == 2
    run.step()
    plain.step()
    for name, value in plain.state.rule.named_parameters():
        assert torch.equal(value, run.state.rule.get_parameter(name))
    for layer in range(1, 5):
        mean, var = (sum(statistics[f"{kind}{layer}"] for statistics in of_tasks) / 2 for kind in ("mean", "var"))
        torch.testing.assert_close(run.state.rule.get_buffer(f"mean{layer}"), 0.1 * mean)
        torch.testing.assert_close(run.state.rule.get_buffer(f"var{layer}"), 0.9 + 0.1 * var)
    assert not list(plain.state.rule.buffers())
    assert use_of_config(run.config, 1).normalisation == "running"


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_a_lost_task_does_not_reach_the_averages(tiny_config: Arguments, value: float) -> None:
    run = trainer_of(tiny_config("run", *RUNNING, "outer.tasks_per_step=2"))
    rule, (good, bad) = run.state.rule, drawn(run)
    episode = bad.episodes[0]
    bad = replace(bad, episodes=(episode._replace(support_x=torch.full_like(episode.support_x, value)),))
    alone, beside = met_by(rule, [good], [0]), met_by(rule, [bad, good], [0, 1])
    unkept, lost = met_by(rule, [bad, good], [1]), met_by(rule, [bad], [0])
    none = met_by(rule, [good], [])
    for name, average in rule.named_buffers():
        assert torch.equal(beside[name], alone[name])
        assert torch.equal(unkept[name], alone[name])
        assert torch.equal(lost[name], average)
        assert torch.equal(none[name], average)
        assert not torch.equal(alone[name], average)


def test_a_run_keeps_its_averages(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run", *RUNNING)) == 0
    path = tmp_path / "run" / "rule.safetensors"
    rule = load_rule(path)
    assert read_header(path).use["normalisation"] == "running"
    for layer in range(1, 5):
        assert (rule.get_buffer(f"mean{layer}") != 0).all()
        assert (rule.get_buffer(f"var{layer}") != 1).all()
    argv = ["--rule", str(path), "--data", "digits", "--size", "4", "--ways", "3", "--tasks", "9", "--steps", "0"]
    argv += ["--baselines", "none", "--readout", "own", "prototype"]
    found = []
    for policy in ("running", "batch"):
        stored = tmp_path / f"{policy}.json"
        assert evaluate.main([*argv, "--normalisation", policy, "--json", str(stored)]) == 0
        found.append(json.loads(stored.read_text()))
        assert found[-1]["meta"]["normalisation"] == policy
    assert found[0]["rows"] != found[1]["rows"]


def test_queries_are_read_out_by_the_averages() -> None:
    network = NETWORKS[1]
    rule, seen = followed(network, 3)
    y = torch.arange(3).repeat(4)
    support, query = seen[0], seen[1]
    learned = Learned(rule, theta_of(rule), Problem.of(network), START)
    running = Normalisation("running")

    def scores(query: torch.Tensor) -> torch.Tensor:
        of_support, of_query = running.features(learned, support, query, None, needs_support=True)
        return Prototypes().scores(of_support, y, of_query, 3)

    with torch.no_grad():
        whole, alone = scores(query), scores(query[:1])
        features = rule.features(learned.problem, START, query, rule.running())
    torch.testing.assert_close(alone[0], whole[0])
    torch.testing.assert_close(whole, Prototypes().scores(learned.features(support, rule.running()), y, features, 3))
    assert running.in_training() == Normalisation("batch")
    for name in ("batch", "support", "unlabelled"):
        assert Normalisation(name).in_training() == Normalisation(name)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rule.options={running: false}"], "holds no running averages; train it with network.normalisation=running"),
        (["outer.average=0.5"], "outer.average: got 0.5, expected 0 with network.normalisation=running"),
        (["rule.name=maml", "outer.readout=head"], "network.normalisation: got 'running', expected one of batch, supp"),
        (
            ["network={name: mlp, normalisation: running}", "rule.name=hebbian", "outer.readout=ridge"],
            "network.normalisation: got 'running', expected one of batch, support, unlabelled for rule hebbian",
        ),
    ],
)
def test_settings_without_averages_are_named_before_anything_is_written(
    tiny_config: Arguments, tmp_path: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        meta_train.main(tiny_config("run", *RUNNING, *overrides))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_start_without_averages_is_refused(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run", *RUNNING, "network.normalisation=batch")) == 0
    start = tmp_path / "run" / "rule.safetensors"
    with pytest.raises(ValueError, match="this protonet holds no running averages"):
        meta_train.main(tiny_config("other", *RUNNING, f"rule.pretrained={start}"))
    assert not (tmp_path / "other").exists()
    with pytest.raises(ValueError, match="this protonet holds no running averages"):
        evaluate.main(["--rule", str(start), "--data", "digits", "--size", "4", "--normalisation", "running"])
