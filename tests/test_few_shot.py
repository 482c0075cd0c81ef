"""Few-shot families as configs of the one trainer: runs, resumes, what they may see, and the papers' evaluation."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from few_shot_settings import MAML, PROTONET, SCA, SEMI_SUPERVISED
from runs import REPORT, theta

from evaluation.baselines.settings import BaselineSettings
from evaluation.comparison import compare
from evaluation.method import Method
from evaluation.methods import CLASSIFIED, CLASSIFIERS, Company, make_baselines
from evaluation.probes import OWN
from evaluation.protocol import Use
from evaluation.rules import RuleMethod
from experiment.build import build_trainer
from inner_loop.network_file import save_network
from inner_loop.networks.conv4 import Conv4, Conv4s
from inner_loop.networks.mlp import MLP, MLPs
from inner_loop.transformer import RuleFeatures
from outer_loop.config.file import load_config
from outer_loop.readouts.head import Head
from outer_loop.run.checkpoint import load_checkpoint
from tasks.data.sources import load_source
from tasks.dataset import Dataset
from tasks.source import TaskSource
from unsupervised_update_rules.commands import evaluate, meta_train
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import load_rule, read_header, save_rule

Arguments = Callable[..., list[str]]

RUNS = {
    "maml": MAML,
    "sca": SCA,
    "semi_supervised_maml": SEMI_SUPERVISED,
    "protonet": PROTONET,
    "protonet by running averages": (*PROTONET, "network.normalisation=running"),
}


LONGER = ("semi_supervised_maml", "protonet by running averages")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.thorough] if name in LONGER else []) for name in RUNS]
)
def test_a_run_learns_is_judged_and_resumes_to_the_bit(name: str, tiny_config: Arguments, tmp_path: Path) -> None:
    assert meta_train.main(tiny_config("whole", *RUNS[name], REPORT)) == 0
    whole, half = tmp_path / "whole", tmp_path / "half"
    rule, header = load_rule(whole / "rule.safetensors"), read_header(whole / "rule.safetensors")
    assert header.use == {
        "network": {"name": "conv4", "options": {"filters": 3, "channels": 1, "pooling": "stride"}},
        "steps": 4,
        "batch": 16,
        "normalisation": "running" if "running" in name else "support",
        "readout": {"name": "prototypes" if "protonet" in name else "head", "options": {}},
        "size": 4,
        "permute": False,
    }
    assert header.config["weights"] == layout(Conv4(4, 1, 3, "stride", 0 if "protonet" in name else 3).shapes)
    untrained, now = type(rule)(**rule.config), theta(whole)
    assert not any(torch.equal(now[name], value) for name, value in untrained.named_parameters())
    page = (whole / "report" / "index.html").read_text()
    assert all(f'<tr class="{method}">' in page for method in ("rule", *CLASSIFIED))
    shutil.copytree(whole, half)
    shutil.copy(half / "checkpoints" / "step_00000002.pt", half / "checkpoints" / "last.pt")
    assert meta_train.main([*tiny_config("half", *RUNS[name]), "--resume"]) == 0
    assert (whole / "metrics.jsonl").read_bytes() == (half / "metrics.jsonl").read_bytes()
    ends = [load_checkpoint(run / "checkpoints" / "last.pt")["state"]["theta"] for run in (whole, half)]
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_derivatives_of_first_order_come_first(tiny_config: Arguments) -> None:
    path, *overrides = tiny_config("run", *MAML)[1:]
    runs = [build_trainer(load_config(path, [*overrides, f"rule.options.first_order={steps}"])) for steps in (0, 1, 2)]
    thetas = []
    for run in runs:
        run.step()
        thetas.append(run.state.rule.get_parameter("start.w1").detach().clone())
    assert torch.equal(thetas[1], thetas[2])
    assert not torch.equal(thetas[0], thetas[1])
    for run in runs[1:]:
        run.step()
    last = [run.state.rule.get_parameter("start.w1") for run in runs[1:]]
    assert not torch.equal(last[0], last[1])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["network={name: mlp, options: {hidden: [[4], [5]]}}"],
            r"network.options: .* one choice of each, since rule m",
        ),
        (["outer.readout=ridge"], r"outer.readout.*: got 'ridge', expected a readout of logits, which rule maml gives"),
        (["inner.length=[2, 3]"], r"inner.unroll: .* expected \[K, K\] as inner.length"),
        (["inner.compile=true"], r"inner.compile: got True, expected false for rule maml"),
        (["rule=hebbian"], r"network.name: got 'conv4', expected a network of dense layers, which rule hebbian"),
        (["rule=protonet"], "got 'head', expected a readout of features, which rule protonet gives"),
        (["network.options.pooling=mean"], r"network.options.pooling: got 'mean', expected one of stride, max"),
        (
            ["network.normalisation=none"],
            r"network.normalisation: got 'none', expected one of batch, support, unlabell",
        ),
        (["network.normalisation=running"], r"network.normalisation: got 'running', expected one of .* for rule maml"),
        (["network.options.channels=3"], "got tasks of 16 inputs for a conv4 network, expected square images of"),
        (["network.options.pooling=max"], "got images of 4 x 4 pixels for a conv4 network with pooling=max"),
        (["tasks.size=[4, 5]"], r"tasks.size: got \(4, 5\), expected one choice"),
    ],
)
def test_settings_that_do_not_fit_are_named(tiny_config: Arguments, overrides: list[str], message: str) -> None:
    path, *settings = tiny_config("run", *MAML)[1:]
    with pytest.raises(ValueError, match=message):
        build_trainer(load_config(path, [*settings, *overrides]))


def test_a_rule_of_unlabelled_training_has_no_head(tiny_config: Arguments) -> None:
    path, *settings = tiny_config("run", "outer.readout=head")[1:]
    with pytest.raises(ValueError, match=r"outer.readout.*: got 'head', expected a readout of features"):
        load_config(path, settings)


def blobs(permute: bool = False) -> TaskSource:
    """Images of 5 × 5 pixels, each class around a mean of its own."""
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 8
    x = 0.2 + 0.6 * torch.rand(8, 25, generator=draw)[y] + 0.2 * torch.rand(160, 25, generator=draw) - 0.1
    data = Dataset("blobs", x, y, (5, 5), tuple("abcdefgh"), None)
    return TaskSource((data,), ways=3, shots=2, queries=4, permute=permute)


def test_a_learned_start_and_its_company_are_paired_and_adaptation_helps() -> None:
    rule = Maml(layout(Conv4(5, filters=8, outputs=4).shapes), rate=0.2)
    use = Use(Conv4s(filters=8), steps=20, normalisation="batch", readout=Head())
    with torch.no_grad():
        rule.start["w5"].zero_()
    names = [*CLASSIFIED, *(f"twice_{probe}" for probe in CLASSIFIERS), "random_network_prototype"]
    methods: dict[str, Method] = {"rule": RuleMethod(rule, use, (0, 20))}
    company = Company(use, BaselineSettings(), rule, (0, 20))
    methods |= make_baselines(names, company, {"twice": lambda x: 2 * x})
    found = compare(methods, blobs(), shots=[2], readouts=[OWN], tasks=6, seed=0)
    by_name = {(one.method, one.steps): np.mean(one.accuracies) for one in found}
    assert len({one.drawn for one in found}) == 1
    assert by_name["rule", 0] == pytest.approx(1 / 3, abs=0.01)
    assert by_name["rule", 20] > 0.6
    assert by_name["untrained_rule", 20] > 0.6
    assert by_name["raw_nearest", None] > 0.95
    for kind in CLASSIFIERS:
        assert by_name[f"raw_{kind}", None] == by_name[f"twice_{kind}", None]
    assert 1 / 3 < by_name["random_network_prototype", None] < by_name["raw_prototype", None]
    again = compare(methods, blobs(), shots=[2], readouts=[OWN], tasks=6, seed=0)
    assert again == found
    starts = next(one for one in found if (one.method, one.steps) == ("untrained_rule", 0)).accuracies
    assert len(set(starts)) > 3


def test_a_fixed_encoder_sees_inputs_in_the_order_of_the_data() -> None:
    company = Company(Use(), BaselineSettings(), None, (0,))
    first = make_baselines(["first_nearest"], company, {"first": lambda x: x[:, :6]})
    plain, permuted = (
        np.mean(compare(first, blobs(permute), shots=[2], readouts=[OWN], tasks=10, seed=0)[0].accuracies)
        for permute in (False, True)
    )
    assert plain == permuted


def said(readout: str, normalisation: str = "batch", **more: Any) -> dict[str, Any]:
    """What a rule file says of its use on images of 8 × 8 pixels."""
    about = {"network": {"name": "conv4", "options": {"filters": 3}}, "readout": {"name": readout, "options": {}}}
    return about | {"normalisation": normalisation, "size": 8, "permute": False, "steps": 0} | more


def test_an_evaluation_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_rule(
        tmp_path / "rule.safetensors", ProtoNet(layout(Conv4(8, filters=3).shapes)), {"seed": 3}, said("prototypes")
    )
    x = torch.rand(20, 64, generator=torch.Generator().manual_seed(0)).numpy()
    trained = RuleFeatures(Hebbian(), hidden=(), outputs=5, steps=1, random_state=0).fit(x).network_
    save_network(tmp_path / "code.safetensors", trained)
    argv = ["--rule", str(tmp_path / "rule.safetensors"), "--data", "digits", "--ways", "4", "--shots", "1", "2"]
    argv += ["--tasks", "3", "--encoder", str(tmp_path / "code.safetensors"), "--seeds", "7"]
    argv += ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    assert evaluate.main(argv) == 0
    results = json.loads((tmp_path / "out.json").read_text())
    names = ["rule", *CLASSIFIED, *(f"code_{probe}" for probe in CLASSIFIERS)]
    assert [(row["method"], row["shots"]) for row in results["rows"]] == [(name, s) for name in names for s in (1, 2)]
    assert {row["readout"] for row in results["rows"]} == {OWN}
    assert len(results["differences"]) == 2 * (len(names) - 1)
    meta = results["meta"]
    assert (meta["normalisation"], meta["split_seed"], meta["size"], meta["permute"]) == ("batch", 3, 8, False)
    assert {(one["size"], one["permute"]) for one in results["per_task"]} == {(8, False)}
    assert meta["rules"]["rule"]["use"]["network"] == {"filters": 3, "channels": 1, "pooling": "stride"}
    assert {"commit", "processor", "torch", "seeds", "command", "diverged"} <= set(meta)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    table = capsys.readouterr().out
    assert all(name in table for name in names)
    assert evaluate.main([*argv, "--normalisation", "support"]) == 0
    other = json.loads((tmp_path / "out.json").read_text())
    assert other["meta"]["normalisation"] == "support"
    pairs = list(zip(results["rows"], other["rows"], strict=True))
    changed = {a["method"] for a, b in pairs if a["accuracy"] != b["accuracy"]}
    assert {"rule"} <= changed <= {"rule", "untrained_rule"}


def test_fixed_encoders_are_read_by_probes_too(tmp_path: Path) -> None:
    """Under their own name, with the readout of each row; the features of the file, of images as they lie."""
    data = load_source("digits", size=8, seed=0)[0]
    trained = RuleFeatures(Hebbian(), hidden=(), outputs=5, steps=1, random_state=0).fit(data.x.numpy()).network_
    save_network(tmp_path / "code.safetensors", trained)
    argv = ["--data", "digits", "--ways", "4", "--shots", "2", "--queries", "3", "--tasks", "3", "--size", "8"]
    argv += ["--encoder", str(tmp_path / "code.safetensors"), "--readout", "prototype", "own", "--json"]
    assert evaluate.main([*argv, str(tmp_path / "out.json"), "--baselines", "raw", "raw_prototype"]) == 0
    results = json.loads((tmp_path / "out.json").read_text())
    found = {(one["method"], one["readout"]): one["accuracies"] for one in results["per_task"]}
    features = {("raw", "prototype"), ("code", "prototype")}
    assert set(found) == features | {("raw_prototype", OWN)} | {(f"code_{probe}", OWN) for probe in CLASSIFIERS}
    assert found["code_prototype", OWN] == found["code", "prototype"] != found["raw", "prototype"]
    source = TaskSource((data,), 4, 2, 3, permute=True)
    company = Company(Use(), BaselineSettings(), None, (0,))
    expected = make_baselines(["code"], company, {"code": trained.embed})
    (one,) = compare(expected, source, shots=[2], readouts=["prototype"], tasks=3, seed=0)
    assert one.accuracies == found["code", "prototype"]


@pytest.mark.parametrize(
    ("case", "arguments", "message"),
    [
        (
            "bare",
            [],
            "rule maml starts from weights .*, got a base network of w1=.*; take the network, image size and w",
        ),
        ("maml", ["--ways", "4"], "got a base network of"),
        ("maml", ["--data", "sklearn:wine"], "got tasks of 13 inputs for a conv4 network, expected square images"),
        ("maml", ["--encoder", "nothing"], "encoder nothing: not found"),
        ("maml", ["--shots", "1", "1"], "got --shots 1 more than once"),
        ("maml", ["--encoder", "a/net.safetensors", "b/net.safetensors"], "called net net, expected different names"),
        ("maml", ["--encoder", "a/raw.safetensors"], "none of a baseline"),
        ("maml", ["--normalisation", "none"], "invalid choice: 'none'"),
        (
            "maml",
            ["--normalisation", "running"],
            "got normalisation running for rule maml, expected batch, support, u",
        ),
        ("protonet", ["--normalisation", "running"], "holds no running averages; train it with network.normalisation"),
        (
            "maml",
            ["--readout", "ridge"],
            "which cannot read rule, untrained_rule; expected probes for features and ",
        ),
        ("maml", ["--baselines", "raw"], "got --readout own, which cannot read raw; expected probes .* raw_nearest"),
        ("maml", ["--baselines", "supervised_nearest"], "got a network of convolutional layers, expected dense ones"),
        ("maml", ["--swapped", "query_x"], r"got --swapped query_x, which nobody looks at \(rule\)"),
        ("maml", ["--sweep", "width"], "got a network of convolutional layers for a sweep of width, expected mlp"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path: Path, case: str, arguments: list[str], message: str) -> None:
    path = tmp_path / "rule.safetensors"
    maml = Maml(layout(Conv4(8, filters=3, outputs=3).shapes))
    if case == "protonet":
        save_rule(path, ProtoNet(layout(Conv4(8, filters=3).shapes)), {}, said("prototypes"))
    else:
        save_rule(path, maml, {}, said("head") if case == "maml" else {"readout": {"name": "head", "options": {}}})
    with pytest.raises((ValueError, OSError), match=message) as caught:
        evaluate.main(["--rule", str(path), "--data", "digits", "--ways", "3", "--tasks", "2", *arguments])
    assert "\n" not in str(caught.value)


def test_a_rule_without_a_readout_of_its_own_is_read_by_the_usual_probe() -> None:
    source = replace(blobs(), shots=5)
    use = Use(steps=2, batch=16)
    method = {"rule": RuleMethod(Hebbian(), use, (2,))}
    own, ridge = compare(method, source, shots=[5], readouts=[OWN, "ridge"], tasks=3, seed=0)
    assert (own.readout, ridge.readout) == (OWN, "ridge")
    assert own.accuracies == ridge.accuracies


def test_fewer_ways_than_in_training_take_the_first_units_of_the_head() -> None:
    rule = Maml(layout(MLP((25, 6, 5)).shapes))
    weights = re.sub("=6x5 b2=5", "=6x3 b2=3", layout(MLP((25, 6, 5)).shapes))
    few = Maml(weights)
    with torch.no_grad():
        for name, value in few.start.items():
            value.copy_(rule.start[name][tuple(slice(units) for units in value.shape)])
    use = Use(MLPs(((6,),)), steps=3, normalisation="support", readout=Head())
    methods = {"many": RuleMethod(rule, use, (3,)), "few": RuleMethod(few, use, (3,))}
    many, first = compare(methods, blobs(), shots=[2], readouts=[OWN], tasks=4, seed=0)
    assert many.accuracies == first.accuracies
