"""Omniglot's one-shot runs: the known error of pixel nearest neighbours, made runs of known answers, damaged files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from evaluation.comparison import compare
from evaluation.one_shot_runs import nearest_neighbour, one_shot_error
from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN
from evaluation.protocol import Use
from evaluation.rules import RuleMethod, classes_of
from inner_loop.networks.conv4 import Conv4, Conv4s
from outer_loop.readouts.contract import Readout
from outer_loop.readouts.head import Head
from outer_loop.readouts.prototypes import Prototypes
from outer_loop.readouts.ridge import Ridge
from tasks.data.omniglot_runs import read_one_shot_runs
from tasks.data.sources import load_source
from tasks.source import TaskSource
from unsupervised_update_rules.commands import one_shot_runs as script
from update_rules.gradient.learned_start import layout
from update_rules.gradient.maml import Maml
from update_rules.gradient.protonet import ProtoNet
from update_rules.local.hebbian import Hebbian
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


def conv4(readout: str, normalisation: str, filters: int = 4, **more: object) -> dict[str, object]:
    """What a rule file says of its use on images of 8 × 8 pixels."""
    network = {"name": "conv4", "options": {"filters": filters}}
    about = {"network": network, "readout": {"name": readout, "options": {}}, "normalisation": normalisation, "size": 8}
    return about | more


def test_the_script_scores_rules_encoders_and_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = made_runs(tmp_path / "runs.npz")
    rules = {name: tmp_path / f"{name}.safetensors" for name in ("protonet", "maml", "few", "hebbian")}
    save_rule(rules["protonet"], ProtoNet(layout(Conv4(8, filters=4).shapes)), {}, conv4("prototypes", "support"))
    save_rule(rules["maml"], Maml(layout(Conv4(8, filters=4, outputs=5).shapes)), {}, conv4("head", "batch"))
    protonet, maml = (str(rules[name]) for name in ("protonet", "maml"))
    argv = ["--runs", str(runs), "--rule", protonet, maml, "--steps", "3", "--json", str(tmp_path / "out.json")]
    assert script.main(argv) == 0
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["errors"]["pixels, nearest"] == {"error": 0, "ci95": 0}
    assert stored["errors"][protonet]["error"] == 0  # the images are the same but for one pixel
    assert 0 <= stored["errors"][maml]["error"] <= 100
    assert [stored["errors"][path]["normalisation"] for path in (protonet, maml)] == ["support", "batch"]
    assert stored["meta"]["command"].startswith("python scripts/one_shot_runs.py --runs ")
    assert stored["published"] == {
        "people (Lake et al., 2015)": 4.5,
        "Bayesian program learning (Lake et al., 2015)": 3.3,
        "pixels, modified Hausdorff distance (Lake's demo for these runs)": 38.8,
    }
    assert "Lake et al." in capsys.readouterr().out
    save_rule(rules["few"], Maml(layout(Conv4(8, filters=4, outputs=3).shapes)), {}, conv4("head", "batch"))
    with pytest.raises(ValueError, match="rule maml starts from weights"):
        script.main(["--runs", str(runs), "--rule", str(rules["few"])])
    save_rule(rules["hebbian"], Hebbian(), {})
    with pytest.raises(ValueError, match="rule hebbian is not one that tells classes from a support set alone"):
        script.main(["--runs", str(runs), "--rule", str(rules["hebbian"])])


def test_images_have_the_size_that_a_rule_was_trained_with(tmp_path: Path) -> None:
    """The encoder of smaller images scores as the same images made smaller do."""
    runs = made_runs(tmp_path / "runs.npz")
    rule = ProtoNet(layout(Conv4(4, filters=4).shapes))
    save_rule(tmp_path / "rule.safetensors", rule, {}, conv4("prototypes", "support", size=4))
    argv = ["--runs", str(runs), "--rule", str(tmp_path / "rule.safetensors"), "--json", str(tmp_path / "out.json")]
    assert script.main(argv) == 0
    (_, found) = json.loads((tmp_path / "out.json").read_text())["errors"].values()
    use = Use(Conv4s(filters=4), normalisation="support", readout=Prototypes())
    expected = one_shot_error(read_one_shot_runs(runs, size=4), lambda *episode: classes_of(rule, use, *episode))
    assert (found["error"], found["ci95"]) == expected


@pytest.mark.parametrize("normalisation", ["batch", "support"])
@pytest.mark.parametrize("kind", [Maml, ProtoNet])
def test_a_classification_is_the_one_that_is_judged(kind: type[Maml | ProtoNet], normalisation: str) -> None:
    """Classes told by ``classes_of`` agree with the accuracy of the same episode in an evaluation."""
    source = TaskSource(tuple(load_source("digits", size=8)), 4, 2, 5, permute=False)
    task = PairedTask(source, 0, 0)
    readout: Readout = Head() if kind is Maml else Prototypes()
    rule = kind(layout(Conv4(8, filters=4, outputs=4 if kind is Maml else 0).shapes))
    use = Use(Conv4s(filters=4), steps=4, normalisation=normalisation, readout=readout)
    support_x, support_y, query_x, query_y = task.episode
    told = classes_of(rule, use, support_x, support_y, query_x)
    (judged,) = compare({"rule": RuleMethod(rule, use, (4,))}, source, shots=[2], readouts=[OWN], tasks=1, seed=0)
    assert float((told == query_y).double().mean()) == judged.accuracies[0]


def test_a_readout_that_needs_the_classes_of_queries_tells_none() -> None:
    rule = ProtoNet(layout(Conv4(8, filters=4).shapes))
    use = Use(Conv4s(filters=4), steps=0, normalisation="support", readout=Ridge())
    x, y = torch.zeros(4, 64), torch.arange(4)
    with pytest.raises(ValueError, match="rule protonet is not one that tells classes"):
        classes_of(rule, use, x, y, x)
    with pytest.raises(ValueError, match="readout Ridge cannot score queries without their classes"):
        Ridge().scores(x, y, x, 4)
