"""Meta-training works: a rule that starts badly comes to do well on unseen tasks, and not by shuffled labels."""

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import Arguments, trainer_of

from evaluation.comparison import compare
from evaluation.rules import RuleMethod, untrained_method
from evaluation.statistics import paired_difference
from experiment.build import use_of_config
from experiment.task_sources import evaluation_tasks, load_datasets

OUTER_STEPS = 30
SETTINGS = (
    "rule={name: hebbian, options: {rate: 0.01}}",  # ten times too slow to get anywhere
    "network.options={hidden: [[]], outputs: 6, activations: [tanh]}",
    "tasks.ways=5",
    "tasks.shots=5",
    "tasks.queries=5",
    "tasks.batch=32",
    "inner={unroll: [10, 10], length: [20, 20], read_every: 10}",
    "outer={tasks_per_step: 6, team: 6, learning_rate: 0.5, final_learning_rate: 0.05, warmup: 0, clip: 0.5}",
    "outer.optimiser=SGD",  # whose steps are as small as the gradient of shuffled labels
    f"outer_steps={OUTER_STEPS}",
)


def crowds(path: Path, seed: int) -> str:
    """A table of 12 classes in 64 inputs: each a crowd around a place of its own, most of it noise."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(12).repeat(40)
    x = 0.8 * torch.randn(12, 64, generator=draw)[y] + torch.randn(len(y), 64, generator=draw)
    np.savez(path, x=x.numpy(), y=y.numpy())
    return f"npz:{path}"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (1, 2))])
def test_meta_training_teaches_a_slow_rule_from_labels_and_nothing_from_shuffled_ones(
    seed: int, tiny_config: Arguments, tmp_path: Path
) -> None:
    train, unseen = crowds(tmp_path / "train.npz", seed), crowds(tmp_path / "unseen.npz", 1000 + seed)
    falls, leads = {}, {}
    for labeller in ("true", "shuffled"):
        sources = (f"tasks.sources=['{train}']", f"evaluation.sources=['{unseen}']", f"report.sources=['{unseen}']")
        run = trainer_of(tiny_config(labeller, *SETTINGS, *sources, f"seed={seed}", f"tasks.labeller={labeller}"))
        losses = torch.tensor([run.step()["meta_loss"] for _ in range(OUTER_STEPS)])
        falls[labeller] = float(losses[:5].mean() - losses[-5:].mean())
        use = use_of_config(run.config, 20)
        methods = {
            "trained": RuleMethod(run.state.rule, use, (20,)),
            "untrained": untrained_method(run.state.rule, use, (20,)),
        }
        source = evaluation_tasks(run.config, load_datasets(run.config, [unseen])[unseen])
        trained, untrained = compare(methods, source, shots=[5], tasks=20, seed=seed)
        leads[labeller] = paired_difference(trained.accuracies, untrained.accuracies)
    assert falls["true"] > 0.6
    assert abs(falls["shuffled"]) < 0.15
    taught, untaught = leads["true"], leads["shuffled"]
    assert taught.value - 2 * taught.ci95 > 0.2
    assert abs(untaught.value) + 2 * untaught.ci95 < 0.05
