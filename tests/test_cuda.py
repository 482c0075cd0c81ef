"""A run on a GPU, as a user would start it. Skipped where there is none."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from runs import Arguments, theta

from benchmarks import command as benchmark
from evaluation.baselines.settings import BaselineSettings
from evaluation.methods import Company, make_baselines
from evaluation.paired_tasks import paired_tasks
from evaluation.protocol import Use
from inner_loop.networks.mlp import MLP, MLPs
from inner_loop.state import stack_states
from inner_loop.unroll import unroll
from tasks.augmentations import AUGMENTATIONS, parse_augmentation
from tasks.data.sources import load_source
from tasks.source import TaskSource
from unsupervised_update_rules.commands import evaluate, meta_train
from update_rules.contract import Problem
from update_rules.registry import make_rule

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

OPTIONS = {
    "metz": {"outputs": 4, "hidden": 4, "top_hidden": 4, "delta_channels": 3, "readout_channels": 2},
    "neuron_local": {"hidden": 4},
    "hebbian": {},
}


def flat_theta(run_dir: Path) -> torch.Tensor:
    return torch.cat([value.flatten() for value in theta(run_dir).values()])


@pytest.mark.parametrize(
    ("name", "estimator"),
    [*((name, "truncated_backprop") for name in sorted(OPTIONS)), ("neuron_local", "evolution_strategies")],
)
def test_a_run_trains_resumes_and_is_near_the_one_on_the_cpu(
    name: str, estimator: str, tiny_config: Arguments, tmp_path: Path
) -> None:
    settings = (f"rule={json.dumps({'name': name, 'options': OPTIONS[name]})}", f"outer.estimator={estimator}")
    for device in ("cuda", "cpu"):
        assert meta_train.main(tiny_config(device, *settings, f"device={device}", "outer_steps=3")) == 0
        assert meta_train.main([*tiny_config(device, *settings, f"device={device}"), "--resume"]) == 0
    gpu, cpu = flat_theta(tmp_path / "cuda"), flat_theta(tmp_path / "cpu")
    assert float((gpu - cpu).norm() / cpu.norm()) < 1e-2
    assert (tmp_path / "cuda" / "report" / "index.html").exists()
    trained = str(tmp_path / "cuda" / "rule.safetensors")
    arguments = ["--data", "digits", "--outputs", "4", "--tasks", "2", "--steps", "3"]
    assert evaluate.main(["--rule", trained, *arguments]) == 0
    assert evaluate.main(["--rule", trained, *arguments, "--device", "cuda"]) == 0


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_unroll_never_waits_for_the_device(name: str, recompute: bool) -> None:
    rule, problem = make_rule(name, **OPTIONS[name]), Problem.of(MLP((6, 5, 4)))
    draw = torch.Generator().manual_seed(0)
    start = stack_states([rule.init_state(problem, draw) for _ in range(3)])
    state = {key: value.cuda() for key, value in start.items()}
    views = {"unlabelled": torch.rand(4, 3, 8, 6, generator=draw).cuda()}
    weights = dict(rule.cuda().named_parameters())

    def gradient() -> list[torch.Tensor]:
        (last,) = unroll(rule, weights, problem, state, views, read_points=[4], recompute=recompute)
        loss = sum(value.square().sum() for value in last.values())
        return list(torch.autograd.grad(loss, list(weights.values()), materialize_grads=True))

    gradient()  # loads the libraries, which waits
    torch.cuda.set_sync_debug_mode("error")
    try:
        gradient()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["autoencoder", "vae", "contrastive", "supervised"])
def test_a_baseline_learns_on_the_device_what_it_learns_on_the_cpu(name: str) -> None:
    source = TaskSource(tuple(load_source("digits", size=8)), 4, 5, 5, permute=True)
    tasks = list(paired_tasks(source, 2, seed=0))
    episodes = [task.episode for task in tasks]

    def answers(device: str, steps: int) -> torch.Tensor:
        use = Use(MLPs(((8,),), 4, ("relu",)), batch=16, device=torch.device(device))
        settings = replace(BaselineSettings(), **{name: replace(getattr(BaselineSettings(), name), steps=steps)})
        ((first, _),) = make_baselines([name], Company(use, settings, None, (0,)))[name].fit(tasks, episodes)
        return first.features(episodes[0].support_x, episodes[0].query_x)[1]

    # Adam's first steps take the sign of gradients that are 0 but for rounding, so single weights may differ.
    start, cpu, cuda = answers("cpu", 0), answers("cpu", 3), answers("cuda", 3)
    torch.testing.assert_close(answers("cuda", 0), start, rtol=1e-4, atol=1e-4)
    assert (cuda - cpu).norm() < 0.25 * (cpu - start).norm()


@pytest.mark.parametrize("step", sorted(AUGMENTATIONS))
def test_images_redrawn_on_the_device_are_those_of_the_cpu(step: str) -> None:
    images = torch.rand(6, 7, 7, 3, generator=torch.Generator().manual_seed(0))
    augment = parse_augmentation(f"{step}=0.3")
    cpu, cuda = (augment(x, torch.Generator().manual_seed(1)) for x in (images, images.cuda()))
    assert cuda.is_cuda
    torch.testing.assert_close(cuda.cpu(), cpu, rtol=1e-4, atol=1e-4)


def test_the_benchmark_measures_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["A8", "--device", "cuda", "--json", "--repeats", "1", "--error"]) == 0
    for line in map(json.loads, capsys.readouterr().out.splitlines()):
        assert line["device"] == torch.cuda.get_device_name()
        assert line["peak_device_mb"] > 0
        assert line["gradient_error"] < 5e-2
