"""Omniglot's one-shot runs: the known error of pixel nearest neighbours, made runs of known answers, damaged files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.adaptation import Adaptation
from evaluation.one_shot_runs import nearest_neighbour, one_shot_error
from evaluation.paired_tasks import PairedTask
from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.description import describe_network
from outer_loop.readouts.objective import Objective
from tasks.data.omniglot_runs import read_one_shot_runs
from tasks.data.sources import load_source
from tasks.task import TaskSource
from unsupervised_update_rules.commands import one_shot_runs as script
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.rule_file import save_rule

OFFICIAL = Path(__file__).parent.parent.parent / "shared" / "data" / "omniglot_oneshot.npz"


def made_runs(path: Path, runs: int = 3, ways: int = 4, **changes: object) -> Path:
    """Runs whose test images are the training images of their class, but for one pixel."""
    rng = np.random.default_rng(0)
    train = rng.integers(0, 256, (runs, ways, 8, 8), dtype=np.uint8)
    answer = np.stack([rng.permutation(ways) for _ in range(runs)])
    test = np.take_along_axis(train, answer[:, :, None, None], 1)
    test[..., 0, 0] = 0
    np.savez(path, **{"train": train, "test": test, "answer": answer} | changes)
    return path


@pytest.mark.skipif(not OFFICIAL.exists(), reason="needs the official runs")
def test_pixel_nearest_neighbours_err_as_known_on_the_official_runs() -> None:
    runs = read_one_shot_runs(OFFICIAL)
    assert len(runs) == 20
    assert all(run.support_x.shape == run.query_x.shape == (20, 784) for run in runs)
    assert all(sorted(run.query_y.tolist()) == list(range(20)) for run in runs)
    error = one_shot_error(runs, nearest_neighbour())
    assert error.value == pytest.approx(79, abs=1)
    assert 0 < error.ci95 < 10


def test_runs_are_fixed_episodes_that_any_classifier_can_be_scored_on(tmp_path: Path) -> None:
    runs = read_one_shot_runs(made_runs(tmp_path / "runs.npz"))
    assert [run.support_y.tolist() for run in runs] == [[0, 1, 2, 3]] * 3
    assert one_shot_error(runs, nearest_neighbour()) == (0.0, 0.0)
    assert one_shot_error(runs, nearest_neighbour(lambda x: x.flip(1)[:, :20])) == (0.0, 0.0)
    assert one_shot_error(runs, lambda support_x, support_y, query_x: torch.zeros(len(query_x))) == (75.0, 0.0)
    answers = iter([runs[0].query_y, runs[1].query_y, 3 - runs[2].query_y])
    mixed = one_shot_error(runs, lambda support_x, support_y, query_x: next(answers))
    assert mixed.value == pytest.approx(100 / 3)
    assert mixed.ci95 == pytest.approx(4.3027 * 100 / 3, rel=1e-4)  # t(0.975, 2) times the standard error of 0, 0, 100
    small = read_one_shot_runs(tmp_path / "runs.npz", size=4)
    assert small[0].support_x.shape == (4, 16)
    with pytest.raises(ValueError, match=r"run 1: got predictions \[1\], expected one class for each of 4 queries"):
        one_shot_error(runs, lambda support_x, support_y, query_x: support_y[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": np.zeros((3, 4, 8, 8))}, r"train float64 \[3, 4, 8, 8\], .*expected uint8 \[runs, ways, h, w\]"),
        ({"test": np.zeros((2, 4, 8, 8), np.uint8)}, r"test uint8 \[2, 4, 8, 8\]"),
        ({"answer": np.zeros((3, 5), int)}, r"answer \[3, 5\]"),
        ({"answer": np.full((3, 4), 4)}, r"expected whole numbers of 0 to 3"),
        ({"answer": np.array(None)}, "'answer' holds Python objects"),
    ],
)
def test_files_that_hold_something_else_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_one_shot_runs(made_runs(tmp_path / "runs.npz", **changes))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(ValueError, match="no array 'train', expected train, test, answer; it holds x"):
        read_one_shot_runs(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        read_one_shot_runs(tmp_path / "none.npz")


def test_the_script_scores_rules_encoders_and_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = made_runs(tmp_path / "runs.npz")
    encoder = Conv4(8, filters=4, outputs=0)
    about = {"network": json.dumps(describe_network(encoder)), "objective": "prototypes", "batch_norm": "support"}
    save_rule(tmp_path / "protonet.safetensors", ProtoNet(layout(encoder.shapes)), about)
    headed = encoder.with_outputs(5)
    about = {"network": json.dumps(describe_network(headed)), "objective": "head", "batch_norm": "batch"}
    save_rule(tmp_path / "maml.safetensors", Maml(layout(headed.shapes)), about)
    rules = [str(tmp_path / f"{name}.safetensors") for name in ("protonet", "maml")]
    argv = ["--runs", str(runs), "--rule", *rules, "--steps", "3", "--json", str(tmp_path / "out.json")]
    assert script.main(argv) == 0
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["errors"]["pixels, nearest"] == {"error": 0, "ci95": 0}
    assert stored["errors"][rules[0]]["error"] == 0  # the images are the same but for one pixel
    assert 0 <= stored["errors"][rules[1]]["error"] <= 100
    assert [stored["errors"][path]["batch_norm"] for path in rules] == ["support", "batch"]
    assert stored["published"] == {
        "people (Lake et al., 2015)": 4.5,
        "Bayesian program learning (Lake et al., 2015)": 3.3,
        "pixels, modified Hausdorff distance (Lake's demo for these runs)": 38.8,
    }
    assert "Lake et al." in capsys.readouterr().out
    few = encoder.with_outputs(3)
    about["network"] = json.dumps(describe_network(few))
    save_rule(tmp_path / "few.safetensors", Maml(layout(few.shapes)), about)
    with pytest.raises(ValueError, match="rule maml starts from weights"):
        script.main(["--runs", str(runs), "--rule", str(tmp_path / "few.safetensors")])


def test_a_classification_is_the_one_that_is_judged(tmp_path: Path) -> None:
    """Classes told by ``classify`` agree with the accuracy of the same episode in an evaluation."""
    source = TaskSource(tuple(load_source("digits", size=8)), 4, 2, 5, permute=False)
    task = PairedTask(source, 0, 0)
    network = Conv4(8, filters=4, outputs=4)
    rule = Maml(layout(network.shapes))
    for objective in (Objective("head"), Objective("head", batch_norm="support")):
        use = Adaptation(network, objective, 4)
        support_x, support_y, query_x, query_y = task.episode
        told = use.classify(rule, support_x, support_y, query_x)
        judged = use.judge_episodes(rule, [task], [task.episode], [4])[0].accuracies[0]
        assert float((told == query_y).float().mean()) == pytest.approx(judged)
    with pytest.raises(ValueError, match="got objective ridge, expected head or prototypes"):
        Adaptation(network, Objective("ridge"), 0).classify(rule, support_x, support_y, query_x)
