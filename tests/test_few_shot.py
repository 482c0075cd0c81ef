"""Few-shot families as configs of the one trainer: runs, resumes, what they may see, and the papers' evaluation."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from few_shot_settings import MAML, PROTONET

from evaluation.adaptation import Adaptation
from evaluation.learners import OnFeatures, compare_learners, learner_names, make_learners
from inner_loop.network_file import save_network
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.description import describe_network
from inner_loop.networks.mlp import MLP
from inner_loop.trained_network import TrainedNetwork
from outer_loop.config.file import load_config
from outer_loop.readouts.objective import Objective
from outer_loop.run.checkpoint import load_checkpoint
from outer_loop.trainer import Trainer
from tasks.dataset import Dataset
from tasks.task import TaskSource
from unsupervised_update_rules.commands import evaluate_few_shot, meta_train
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import load_rule, read_header, save_rule

Arguments = Callable[..., list[str]]

RUNS = {
    "maml": MAML,
    "protonet": PROTONET,
    "protonet by running averages": (*PROTONET, "network.batch_norm=running"),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_learns_is_judged_and_resumes_to_the_bit(name: str, tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("whole", *RUNS[name])) == 0
    whole, half = tmp_path / "whole", tmp_path / "half"
    rule, header = load_rule(whole / "rule.safetensors"), read_header(whole / "rule.safetensors")
    assert header.provenance["batch_norm"] == ("running" if "running" in name else "support")
    outputs = 3 if name == "maml" else 0
    assert json.loads(header.provenance["network"]) == describe_network(Conv4(4, 1, 3, "stride", outputs))
    untrained = type(rule)(**rule.config)
    assert not any(torch.equal(a, b) for a, b in zip(rule.parameters(), untrained.parameters(), strict=True))
    methods = learner_names(type(rule))
    assert ("scratch" in methods) == (name == "maml")
    page = (whole / "report" / "index.html").read_text()
    assert all(method in page for method in methods)
    shutil.copytree(whole, half)
    shutil.copy(half / "checkpoints" / "step_00000002.pt", half / "checkpoints" / "last.pt")
    assert meta_train.main([*tiny_config("half", *RUNS[name]), "--resume"]) == 0
    assert (whole / "metrics.jsonl").read_bytes() == (half / "metrics.jsonl").read_bytes()
    ends = [load_checkpoint(run / "checkpoints" / "last.pt")["state"]["theta"] for run in (whole, half)]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_derivatives_of_first_order_come_first(tiny_config: Arguments) -> None:
    path, *overrides = tiny_config("run", *MAML)[1:]
    runs = [Trainer(load_config(path, [*overrides, f"outer.first_order={steps}"])) for steps in (0, 1, 2)]
    thetas = []
    for run in runs:
        run._outer_step()
        thetas.append(run.state.rule.get_parameter("start.w1").detach().clone())
    assert torch.equal(thetas[1], thetas[2])
    assert not torch.equal(thetas[0], thetas[1])
    for run in runs[1:]:
        run._outer_step()
    last = [run.state.rule.get_parameter("start.w1") for run in runs[1:]]
    assert not torch.equal(last[0], last[1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["network.kind=mlp", "network.hidden=[[4], [5]]"], r"network.hidden: .* one choice, since rule maml learns"),
        (["outer.objective=ridge"], r"outer.objective: got 'ridge', expected head for rule maml"),
        (["inner.length=[2, 3]"], r"inner.unroll: .* expected \[K, K\] as inner.length"),
        (["inner.compile=true"], r"inner.compile: got True, expected false for rule maml"),
        (["rule.name=hebbian", "rule.options={}"], r"network.kind: got 'conv4', expected mlp, which rule hebbian"),
        (["rule.name=protonet", "rule.options={}"], "got 'head', expected ridge or prototypes for rule protonet"),
        (["network.pooling=mean"], r"network.pooling: got 'mean', expected one of stride, max"),
        (["network.batch_norm=none"], r"network.batch_norm: got 'none', expected one of batch, support, running"),
        (["network.channels=3"], "got tasks of 16 inputs for a conv4 network, expected square images of"),
        (["network.pooling=max"], "got images of 4 x 4 pixels for a conv4 network with pooling=max"),
        (["tasks.size=[4, 5]"], r"tasks.size: got \(4, 5\), expected one choice"),
    ],
)
def test_settings_that_do_not_fit_are_named(tiny_config: Arguments, overrides: list[str], message: str) -> None:
    path, *settings = tiny_config("run", *MAML)[1:]
    with pytest.raises(ValueError, match=message):
        Trainer(load_config(path, [*settings, *overrides]))


def test_a_rule_of_unlabelled_training_has_no_head(tiny_config: Arguments) -> None:
    path, *settings = tiny_config("run", "outer.objective=head")[1:]
    with pytest.raises(ValueError, match=r"outer.objective: got 'head', expected ridge or prototypes"):
        load_config(path, settings)


def blobs(permute: bool = False) -> TaskSource:
    """Images of 5 × 5 pixels, each class around a mean of its own."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 8
    x = 0.2 + 0.6 * torch.rand(8, 25, generator=draw)[y] + 0.2 * torch.rand(160, 25, generator=draw) - 0.1
    data = Dataset("blobs", x, y, (5, 5), tuple("abcdefgh"), None)
    return TaskSource((data,), ways=3, shots=2, queries=4, permute=permute)


def test_learners_are_paired_and_adaptation_helps() -> None:
    network = Conv4(5, filters=8, outputs=4)
    rule = Maml(layout(network.shapes), rate=0.2)
    use = Adaptation(network, Objective("head"), 20)
    with torch.no_grad():
        rule.start["w5"].zero_()
    learners = make_learners(rule, use, [0, 20], {"twice": lambda x: 2 * x})
    assert list(learners) == learner_names(Maml, ["twice"])
    found = compare_learners(learners, blobs(), shots=2, tasks=6, seed=0)
    by_name = {(one.method, one.steps): np.mean(one.accuracies) for one in found}
    assert len({one.drawn for one in found}) == 1
    assert by_name["rule", 0] == pytest.approx(1 / 3, abs=0.01)
    assert by_name["rule", 20] > 0.6
    assert by_name["scratch", 20] > 0.6
    assert by_name["raw_nearest", None] > 0.95
    for kind in ("nearest", "linear", "prototypes"):
        assert by_name[f"raw_{kind}", None] == by_name[f"twice_{kind}", None]
    again = compare_learners(learners, blobs(), shots=2, tasks=6, seed=0)
    assert again == found
    starts = next(one for one in found if (one.method, one.steps) == ("scratch", 0)).accuracies
    assert len(set(starts)) > 3


def test_fixed_features_see_inputs_in_the_order_of_the_data() -> None:
    first = OnFeatures(lambda x: x[:, :6], "nearest")
    plain, permuted = (
        np.mean(compare_learners({"first": first}, blobs(permute), shots=2, tasks=10, seed=0)[0].accuracies)
        for permute in (False, True)
    )
    assert plain == permuted


def test_an_evaluation_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = Conv4(8, filters=3)
    rule = ProtoNet(layout(encoder.shapes))
    about = {
        "network": json.dumps(describe_network(encoder)),
        "objective": "prototypes",
        "batch_norm": "batch",
        "seed": 3,
    }
    save_rule(tmp_path / "rule.safetensors", rule, about)
    mlp = MLP((64, 5))
    state = {"w1": torch.randn(64, 5, generator=torch.Generator().manual_seed(0)), "b1": torch.zeros(5)}
    frozen = [(torch.zeros(5), torch.ones(5))]
    one, zero = torch.ones(64, dtype=torch.float64), torch.zeros(64, dtype=torch.float64)
    save_network(tmp_path / "code.safetensors", TrainedNetwork(mlp, state, frozen, zero, one))
    argv = ["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits", "--ways", "4", "--shots", "1", "2"]
    argv += ["--tasks", "3", "--steps", "0", "--encoder", str(tmp_path / "code.safetensors"), "--seeds", "7"]
    argv += ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    assert evaluate_few_shot.main(argv) == 0
    results = json.loads((tmp_path / "out.json").read_text())
    names = learner_names(ProtoNet, ["code"])
    assert [row["method"] for row in results["rows"]] == names * 2
    assert len(results["differences"]) == 2 * (len(names) - 1)
    meta = results["meta"]
    assert (meta["batch_norm"], meta["objective"], meta["split_seed"], meta["size"]) == ("batch", "prototypes", 3, 8)
    assert {"commit", "processor", "torch", "seeds", "command", "diverged"} <= set(meta)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    assert evaluate_few_shot.main([*argv, "--batch-norm", "support"]) == 0
    other = json.loads((tmp_path / "out.json").read_text())
    assert other["meta"]["batch_norm"] == "support"
    pairs = zip(results["rows"], other["rows"], strict=True)
    assert {a["method"] for a, b in pairs if a["accuracy"] != b["accuracy"]} <= {"rule", "untrained_prototypes"}


@pytest.mark.parametrize(
    ("case", "arguments", "message"),
    [
        ("hebbian", [], "does not say which network it starts"),
        ("maml", ["--ways", "4"], "got a base network of"),
        ("maml", ["--size", "5"], "got tasks of 25 inputs, expected 64"),
        ("maml", ["--encoder", "nothing"], "encoder nothing: not found"),
        ("maml", ["--shots", "1", "1"], "got --shots 1 more than once"),
        ("maml", ["--encoder", "a/net.safetensors", "b/net.safetensors"], "called net net, expected different names"),
        ("maml", ["--encoder", "a/raw.safetensors"], "none of them raw"),
        ("maml", ["--batch-norm", "none"], "invalid choice: 'none'"),
        ("maml", ["--batch-norm", "running"], "holds no running averages; expected batch or support"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path: Path, case: str, arguments: list[str], message: str) -> None:
    path = tmp_path / "rule.safetensors"
    network = Conv4(8, filters=2, outputs=3)
    about = {"network": json.dumps(describe_network(network)), "objective": "head", "batch_norm": "batch"}
    if case == "maml":
        save_rule(path, Maml(layout(network.shapes)), about)
    else:
        save_rule(path, Hebbian(), {})
    with pytest.raises((ValueError, OSError), match=message) as caught:
        evaluate_few_shot.main(["--rule", str(path), "--data", "digits", "--ways", "3", "--tasks", "2", *arguments])
    assert "\n" not in str(caught.value)
