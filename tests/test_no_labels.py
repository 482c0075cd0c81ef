"""Meta-training without labels: each labeller trains, and hidden labels change nothing, to the bit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import theta

from experiment.task_sources import load_datasets, training_tasks
from outer_loop.config.file import load_config
from unsupervised_update_rules.commands import meta_train
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, save_rule

Arguments = Callable[..., list[str]]
LABELLERS = {
    "instances": "{augmentation: shift=0.3}",
    "clusters": "{partitions: 3, groups: 6}",
    "hyperplanes": "{partitions: 3, groups: 4}",
}


@pytest.fixture
def images(tmp_path: Path) -> tuple[str, str]:
    """Two SOURCEs of the same images whose labels differ."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (200, 4, 4), dtype=np.uint8), np.arange(200) % 5
    for name, labels in (("a", y), ("b", rng.permutation(y))):
        np.savez(tmp_path / f"{name}.npz", x=x, y=labels)
    return f"npz:{tmp_path / 'a.npz'}", f"npz:{tmp_path / 'b.npz'}"


RULES = {
    "neuron_local": (),
    "hebbian": ("rule={name: hebbian, options: {}}",),
    "maml": (
        "rule={name: maml, options: {rate: 0.1}}",
        "network={name: conv4, options: {filters: 2}}",
        "inner={unroll: [2, 2], length: [2, 2], read_every: 2}",
        "outer.readout=head",
        "tasks.permute=false",
    ),
    "protonet": (
        "rule={name: protonet, options: {}}",
        "network={name: conv4, options: {filters: 2}}",
        "inner={unroll: [1, 1], length: [1, 1], read_every: 1}",
        "outer.readout=prototypes",
        "tasks.permute=false",
    ),
}


@pytest.mark.parametrize(
    ("rule", "labeller"),
    [
        (rule, labeller)
        if (rule, labeller) in (("neuron_local", "instances"), ("maml", "hyperplanes"), ("protonet", "clusters"))
        else pytest.param(rule, labeller, marks=pytest.mark.thorough)
        for rule in RULES
        for labeller in LABELLERS
    ],
)
def test_hidden_labels_change_nothing(
    labeller: str, rule: str, tiny_config: Arguments, tmp_path: Path, images: tuple[str, str]
) -> None:
    options = f"tasks.labeller={{name: {labeller}, options: {LABELLERS[labeller]}}}"
    settings = (*RULES[rule], options, "evaluation.training=[]")
    for run, source in zip(("first", "second"), images, strict=True):
        assert meta_train.main(tiny_config(run, *settings, f"tasks.sources=['{source}']")) == 0
    kept = [load_rule(tmp_path / run / "rule.safetensors") for run in ("first", "second")]
    start = make_rule(rule, **kept[0].config).state_dict()
    ends = [theta(tmp_path / run) for run in ("first", "second")]
    assert any(not torch.equal(value, start[name]) for name, value in ends[0].items())
    for first, second in (ends, [one.state_dict() for one in kept]):
        for name, value in first.items():
            assert torch.equal(value, second[name]), name


def test_partitions_can_be_of_the_features_of_a_rule(
    tiny_config: Arguments, tmp_path: Path, images: tuple[str, str]
) -> None:
    save_rule(tmp_path / "encoder.safetensors", make_rule("hebbian"), {"seed": 0})
    labeller = "tasks.labeller={name: clusters, options: {groups: 6, partitions: 2}}"
    settings = [labeller, f"tasks.sources=['{images[0]}']"]
    path, *overrides = tiny_config("run", *settings)[1:]
    made = []
    for encoder in ("inputs", str(tmp_path / "encoder.safetensors")):
        config = load_config(path, [*overrides, f"tasks.labeller.options.encoder={encoder}"])
        made.append(training_tasks(config, load_datasets(config, config.tasks.sources)))
    assert [len(source.datasets) for source in made] == [2, 2]
    assert [source.parts for source in made] == [(2,), (2,)]
    assert made[0].datasets[0].fingerprint != made[1].datasets[0].fingerprint


def test_instances_are_tasks_of_their_own(tiny_config: Arguments, images: tuple[str, str]) -> None:
    path, *overrides = tiny_config("run", "tasks.labeller=instances", f"tasks.sources=['{images[0]}']")[1:]
    config = load_config(path, overrides)
    source = training_tasks(config, load_datasets(config, config.tasks.sources))
    assert source.labeller.settings == "zero_pixels=0.5,shift=0.21"
    assert source.draw(torch.Generator()).labels.tolist() == [0] * 200
    message = r"tasks.labeller.options: .*got augmentation 'blur=2', expected identity, or NAME=STRENGTH"
    with pytest.raises(ValueError, match=message):
        load_config(path, [*overrides, "tasks.labeller.options.augmentation=blur=2"])
