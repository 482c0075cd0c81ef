"""Running averages of batch normalisation, as prototypical networks have them at test."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from few_shot_settings import PROTONET
from torch import nn

from evaluation.adaptation import Adaptation
from experiment.configured import rule_use
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.description import BaseNetwork
from inner_loop.networks.mlp import MLP
from outer_loop.config.file import load_config
from outer_loop.estimators.truncated_backprop import Piece
from outer_loop.readouts.objective import Objective
from outer_loop.running_averages import MOMENTUM, follow, met_by
from outer_loop.trainer import Trainer
from unsupervised_update_rules.commands import evaluate_few_shot, meta_train
from update_rules.gradient.learned_start import layout
from update_rules.gradient.protonet import ProtoNet
from update_rules.rule_file import load_rule, read_header

Arguments = Callable[..., list[str]]

RUNNING = (*PROTONET, "network.batch_norm=running")
NETWORKS = (Conv4(8, filters=3), MLP((16, 5, 4)))


def followed(network: BaseNetwork, batches: int) -> tuple[ProtoNet, list[torch.Tensor]]:
    """A rule whose averages followed ``batches`` batches of 12 examples, and these."""
    rule = ProtoNet(layout(network.shapes), running=True)
    draw = torch.Generator().manual_seed(1)
    seen = [torch.rand(12, network.sizes[0], generator=draw) for _ in range(batches)]
    with torch.no_grad():
        for x in seen:
            follow(rule, rule.batch_statistics(network, x))
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
def test_features_by_averages_are_each_examples_own_and_those_of_the_batch_that_was_met(network: BaseNetwork) -> None:
    rule, (x,) = followed(network, 1)
    for _ in range(200):
        follow(rule, rule.batch_statistics(network, x))
    with torch.no_grad():
        averaged = rule.averaged_features(network, x)
        torch.testing.assert_close(averaged, rule.features(network, {}, x), rtol=1e-4, atol=1e-5)
        for row, example in zip(averaged, x, strict=True):
            torch.testing.assert_close(rule.averaged_features(network, example[None])[0], row)
        assert not torch.allclose(rule.features(network, {}, x[:4]), averaged[:4], atol=1e-3)


def drawn(run: Trainer) -> list[Piece]:
    """What the run's next outer step will draw, which it draws again then."""
    [turn] = run.state.slots
    before = [slot.generator.get_state() for slot in turn]
    pieces = [slot.piece([1], run.device, ()) for slot in turn]
    for slot, state in zip(turn, before, strict=True):
        slot.generator.set_state(state)
    return pieces


def test_training_goes_by_batch_and_the_averages_follow_it(tiny_config: Arguments) -> None:
    path, *overrides = tiny_config("run", *RUNNING, "outer.tasks_per_step=2")[1:]
    config = load_config(path, overrides)
    run, plain = Trainer(config), Trainer(load_config(path, [*overrides, "network.batch_norm=batch"]))
    pieces, network = drawn(run), run.network
    weights = {name: value.detach().clone() for name, value in run.state.rule.weights(network, {}).items()}
    of_tasks = [
        network.statistics(weights, torch.cat([piece.episodes[0].support_x, piece.episodes[0].query_x]))
        for piece in pieces
    ]
    assert len(of_tasks) == 2
    run._outer_step()
    plain._outer_step()
    for name, value in plain.state.rule.named_parameters():
        assert torch.equal(value, run.state.rule.get_parameter(name))
    for layer in range(1, 5):
        means, variances = zip(*(statistics[layer - 1] for statistics in of_tasks), strict=True)
        torch.testing.assert_close(run.state.rule.get_buffer(f"mean{layer}"), 0.1 * (means[0] + means[1]) / 2)
        expected = 0.9 + 0.1 * (variances[0] + variances[1]) / 2
        torch.testing.assert_close(run.state.rule.get_buffer(f"var{layer}"), expected)
    assert not list(plain.state.rule.buffers())
    use = rule_use(config, 1, network.sizes[0])
    assert isinstance(use, Adaptation)
    assert use.objective.batch_norm == "running"


@pytest.mark.parametrize("value", [float("nan"), 1e30])
def test_a_lost_task_does_not_reach_the_averages(tiny_config: Arguments, value: float) -> None:
    path, *overrides = tiny_config("run", *RUNNING, "outer.tasks_per_step=2")[1:]
    run = Trainer(load_config(path, overrides))
    good, bad = drawn(run)
    episode = bad.episodes[0]
    bad = replace(bad, episodes=(episode._replace(support_x=torch.full_like(episode.support_x, value)),))
    alone, beside, lost = (met_by(run.state.rule, pieces) for pieces in ([good], [bad, good], [bad]))
    for name, average in run.state.rule.named_buffers():
        assert torch.equal(beside[name], alone[name])
        assert torch.equal(lost[name], average)
        assert not torch.equal(alone[name], average)


def test_a_run_keeps_its_averages(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run", *RUNNING)) == 0
    path = tmp_path / "run" / "rule.safetensors"
    rule = load_rule(path)
    assert read_header(path).provenance["batch_norm"] == "running"
    for layer in range(1, 5):
        assert (rule.get_buffer(f"mean{layer}") != 0).all()
        assert (rule.get_buffer(f"var{layer}") != 1).all()
    argv = ["--rule", str(path), "--data", "digits", "--size", "4", "--ways", "3", "--tasks", "2", "--steps", "0"]
    stored = tmp_path / "out.json"
    for policy in ("running", "batch"):
        assert evaluate_few_shot.main([*argv, "--batch-norm", policy, "--json", str(stored)]) == 0
        assert json.loads(stored.read_text())["meta"]["batch_norm"] == policy


def test_queries_are_read_out_by_the_averages() -> None:
    network = NETWORKS[1]
    rule, seen = followed(network, 3)
    y = torch.arange(3).repeat(4)
    support, query = seen[0], seen[1]
    running = Objective("prototypes", batch_norm="running")
    theta = dict(rule.named_parameters()) | dict(rule.named_buffers())
    with torch.no_grad():
        whole = running.scores(rule, theta, network, {}, (support, y, query), 3)
        alone = running.scores(rule, theta, network, {}, (support, y, query[:1]), 3)
    torch.testing.assert_close(alone[0], whole[0])
    assert running.without_averages("batch") == Objective("prototypes", batch_norm="batch")
    assert Objective(batch_norm="support").without_averages("batch").batch_norm == "support"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rule.options={running: true}"], "rule.options.running: got True, expected no such option"),
        (["outer.average=0.5"], "outer.average: got 0.5, expected 0 with network.batch_norm=running"),
        (["rule.name=maml", "outer.objective=head"], "network.batch_norm: got 'running', expected batch or support"),
        (["network={kind: mlp, batch_norm: running}", "rule.name=hebbian"], "expected batch or support: every task"),
    ],
)
def test_settings_without_averages_are_named(tiny_config: Arguments, overrides: list[str], message: str) -> None:
    path, *settings = tiny_config("run", *RUNNING)[1:]
    with pytest.raises(ValueError, match=message):
        load_config(path, [*settings, *overrides])


def test_a_start_without_averages_is_refused(tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("run", *RUNNING, "network.batch_norm=batch")) == 0
    start = tmp_path / "run" / "rule.safetensors"
    with pytest.raises(ValueError, match=r"expected protonet {'running': True}"):
        meta_train.main(tiny_config("other", *RUNNING, f"rule.start={start}"))
    with pytest.raises(ValueError, match="trained with batch_norm=batch, holds no running averages"):
        evaluate_few_shot.main(["--rule", str(start), "--data", "digits", "--size", "4", "--batch-norm", "running"])
