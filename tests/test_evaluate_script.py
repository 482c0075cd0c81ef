"""scripts/evaluate.py from the command line to the table, the JSON file and the plot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris

from common.notice import Notice
from evaluation.methods import CHEAP
from experiment.report.store import read
from unsupervised_update_rules.commands import evaluate
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import save_rule

METHODS = ("rule", *CHEAP)

SIZES = {"ways": 3, "shots": 2, "queries": 3, "tasks": 4, "steps": 2, "hidden": 6, "outputs": 4, "batch": 8, "size": 5}
SMALL = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]


@pytest.fixture
def rule(tmp_path: Path) -> str:
    save_rule(tmp_path / "rule.safetensors", Hebbian(), {"sources": ["digits"], "seed": 5})
    return str(tmp_path / "rule.safetensors")


def test_table_json_and_plot(tmp_path: Path, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).random((40, 6), np.float32), y=np.arange(40) % 4)
    sources = ["digits@test", f"npz:{tmp_path / 'd.npz'}"]
    json_file, plot = tmp_path / "results.json", tmp_path / "results.png"
    argv = ["--rule", rule, "--data", *sources, *SMALL, "--ways", "2", "--seed", "9"]
    assert evaluate.main([*argv, "--json", str(json_file), "--plot", str(plot)]) == 0
    table = capsys.readouterr().out
    results = json.loads(json_file.read_text())
    assert [(row["source"], row["method"]) for row in results["rows"]] == [(s, m) for s in sources for m in METHODS]
    for row in results["rows"]:
        assert set(row) == {
            *("method", "source", "ways", "shots", "readout", "setting", "accuracy", "ci95", "tasks", "seed")
        }
        assert (row["ways"], row["shots"], row["tasks"], row["seed"]) == (2, 2, 4, 9)
        assert f"{100 * row['accuracy']:.1f} ± {100 * row['ci95']:.1f}" in table
    assert results["meta"]["split_seed"] == 5
    assert results["meta"]["steps"] == 2
    assert {"commit", "torch", "threads", "seconds", "diverged"} <= set(results["meta"])
    assert all(source in table for source in sources)
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "d.npz",
        "results.json",
        "results.png",
        "rule.safetensors",
    ]
    assert evaluate.main([*argv, "--json", str(json_file)]) == 0
    again = json.loads(json_file.read_text())
    assert (again["rows"], again["differences"]) == (results["rows"], results["differences"])


def test_baselines_alone_with_several_shots_readouts_and_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "results.json"
    argv = ["--data", "digits", *SMALL, "--baselines", "kmeans", "raw", "--json", str(json_file), "--seeds", "1", "2"]
    assert evaluate.main([*argv, "--shots", "1", "3", "--readout", "prototype", "ridge"]) == 0
    table = capsys.readouterr().out
    results = json.loads(json_file.read_text())
    assert results["differences"] == []
    assert len(results["rows"]) == len(results["per_task"]) == 2 * 2 * 2 * 2
    tasks = {}
    for one in results["per_task"]:
        assert len(one["accuracies"]) == 4
        assert (one["source"], one["ways"], one["queries"], one["size"], one["permute"]) == ("digits", 3, 3, 5, True)
        tasks.setdefault((one["seed"], one["shots"]), set()).add(one["drawn"])
    assert len(tasks) == 4
    assert all(len(drawn) == 1 for drawn in tasks.values())
    assert len(set.union(*tasks.values())) == 4
    assert "rule leads" not in table
    assert len([line for line in table.splitlines() if "raw" in line]) == 4
    assert results["meta"]["command"].startswith("python scripts/evaluate.py --data digits --ways 3")


def test_images_may_be_redrawn(tmp_path: Path) -> None:
    json_file, found = tmp_path / "results.json", []
    argv = ["--data", "digits", *SMALL, "--baselines", "raw", "--json", str(json_file), "--tasks", "20", "--redraw"]
    for redraw in ("identity", "zero_pixels=0.9"):
        assert evaluate.main([*argv, redraw]) == 0
        results = json.loads(json_file.read_text())
        assert results["meta"]["redraw"] == redraw
        found.append((results["rows"][0]["accuracy"], results["per_task"][0]["drawn"]))
    assert found[1][0] < found[0][0] - 0.1  # of few pixels less can be told
    assert found[1][1] != found[0][1]


def test_queries_may_be_kept_out_of_what_methods_learn_from(tmp_path: Path) -> None:
    found = {}
    for name, words in (("seen", []), ("apart", ["--inductive"])):
        out = tmp_path / f"{name}.json"
        argv = ["--data", "digits", *SMALL, "--baselines", "raw", "pca", "--json", str(out), "--tasks", "3"]
        assert evaluate.main([*argv, *words]) == 0
        found[name] = json.loads(out.read_text())
        assert found[name]["meta"]["inductive"] == bool(words)
    seen, apart = ({one["method"]: one for one in found[name]["per_task"]} for name in ("seen", "apart"))
    assert seen["raw"]["accuracies"] == apart["raw"]["accuracies"], "the same queries and labels"
    assert seen["raw"]["drawn"] != apart["raw"]["drawn"]
    store = read(tmp_path, ["*.json"])
    both = [store.ask({"method": "pca", "source": "digits", "inductive": one}) for one in (False, True)]
    assert all(one is not None and one.tasks == 3 for one in both)


@pytest.mark.parametrize("sweep", ["steps", "width"])
def test_a_sweep_has_a_row_a_setting(tmp_path: Path, rule: str, sweep: str) -> None:
    json_file, plot = tmp_path / "results.json", tmp_path / "sweep.png"
    argv = ["--rule", rule, "--data", "digits", *SMALL, "--sweep", sweep, "--values", "0.5", "2"]
    argv += ["--baselines", "random_network", "--json", str(json_file), "--plot", str(plot)]
    assert evaluate.main(argv) == 0
    results = json.loads(json_file.read_text())
    settings = {
        method: [row["setting"] for row in results["rows"] if row["method"] == method]
        for method in ("rule", "random_network")
    }
    if sweep == "steps":
        assert settings["rule"] == [{"steps": 0}, {"steps": 1}, {"steps": 4}]
        assert settings["random_network"] == [{}]
        first, *_ = results["differences"]
        assert (first["setting"], first["difference"]) == ({"steps": 0}, 0.0)  # before the first step
        assert len(results["differences"]) == 3
    else:
        assert settings["rule"] == settings["random_network"] == [{"width": 0.5}, {"width": 2.0}]
        assert [lead["setting"] for lead in results["differences"]] == settings["rule"]
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--tasks", "1"], "argument --tasks: got '1', expected a whole number of 2 or more"),
        (["--ways", "11"], "10 classes, expected at least ways=11"),
        (["--shots", "500"], "lower shots or queries"),
        (["--data", "digits", "digits"], "got --data digits more than once"),
        (["--data", "digit"], "did you mean digits"),
        (["--rule", "none"], "not found"),
        (["--json", "no/such/results.json"], "cannot write no/such/results.json: there is no folder"),
        (["--plot", "/"], "cannot write /: it is a folder"),
        (["--shots", "5", "5"], "got --shots 5 more than once"),
        (["--baselines", "kmean"], "unknown baseline 'kmean', expected untrained_rule, .*did you mean kmeans"),
        (["--readout", "tree"], "invalid choice: 'tree'"),
        (["--readout", "ridge", "ridge"], "got --readout ridge more than once"),
        (["--baselines", "raw_nearest"], "got --readout ridge, which cannot read raw_nearest; expected probes for fea"),
        (["--normalisation", "running"], "got normalisation running for rule hebbian, expected batch, support, unlab"),
        (["--values", "1"], "got --values without --sweep"),
        (["--sweep", "depth", "--values", "-"], "got values - for a sweep of depth"),
        (["--baseline-settings", "none.yaml"], "none.yaml"),
        (["--hidden", "0"], "argument --hidden: got '0'"),
        (["--activation", "sin"], "invalid choice: 'sin'"),
        (["--device", "tpu"], "argument --device: got 'tpu', expected cpu or cuda"),
        (["--sweep", "colour"], "invalid choice: 'colour'"),
        (["--redraw", "spin=1"], "spin"),
        (["--data", "digits", "sklearn:wine", "--ways", "3", "--redraw", "flip=0.5"], "wine: .* expected images for"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, rule: str, extra: list[str], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        evaluate.main(["--rule", rule, "--data", "digits", *SMALL, *extra])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("baselines", "message"),
    [(["none"], "got no --rule and no --baselines"), (["raw", "untrained_rule"], "untrained_rule without --rule")],
)
def test_without_a_rule_there_must_be_something_else(baselines: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate.main(["--data", "digits", *SMALL, "--baselines", *baselines])


def test_the_script_exits_with_2_and_one_line(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        str(Path(__file__).parent.parent / "scripts" / "evaluate.py"),
        "--rule",
        "none.safetensors",
        "--data",
        "digits",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_table_on_another_scale_is_told_as_well(tmp_path: Path, rule: str) -> None:
    """The spread of columns decides, not whether they lie in [0, 1]."""
    x, y = load_iris(return_X_y=True)
    few = ["--ways", "3", "--shots", "5", "--queries", "5", "--tasks", "10", "--steps", "5", "--baselines", "raw"]
    found = {}
    for name, factor in (("iris", 1.0), ("small", 1e-5)):
        np.savez(tmp_path / f"{name}.npz", x=(x * factor).astype(np.float32), y=y)
        data = ["--data", f"npz:{tmp_path / name}.npz", "--json", str(tmp_path / "found.json")]
        with pytest.warns(Notice, match="brought to mean 0 and variance 1"):
            evaluate.main(["--rule", rule, *data, *few])
        rows = json.loads((tmp_path / "found.json").read_text())["rows"]
        found[name] = [row["accuracy"] for row in rows]
    assert found["small"] == pytest.approx(found["iris"], abs=0.02)
    assert min(found["small"]) > 0.7


def test_the_class_column_of_a_table_is_named_on_the_command_line(tmp_path: Path) -> None:
    x, y = load_iris(return_X_y=True)
    lines = [f"{['a', 'b', 'c'][kind]},{','.join(map(str, row))}" for row, kind in zip(x.tolist(), y, strict=True)]
    (tmp_path / "iris.csv").write_text("kind,p,q,r,s\n" + "\n".join(lines))
    few = ["--ways", "3", "--shots", "5", "--queries", "5", "--tasks", "2", "--baselines", "raw"]
    with pytest.raises(ValueError, match=r"no column called label, class, target or y; name the one of classes"):
        evaluate.main(["--data", f"csv:{tmp_path / 'iris.csv'}", *few])
    with pytest.warns(Notice, match="brought to mean 0 and variance 1"):
        assert evaluate.main(["--data", f"csv:{tmp_path / 'iris.csv'}", "--label", "kind", *few]) == 0


def test_what_is_read_is_not_overwritten(tmp_path: Path, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    np.savez("data/mine.npz", x=np.random.default_rng(0).random((40, 6), np.float32), y=np.arange(40) % 4)
    before = Path("data/mine.npz").read_bytes(), Path(rule).read_bytes()
    for out in ("data/mine.npz", rule):
        with pytest.raises(ValueError, match="would overwrite what is read"):
            evaluate.main(["--rule", rule, "--data", "mine", *SMALL, "--ways", "2", "--json", out])
    assert (Path("data/mine.npz").read_bytes(), Path(rule).read_bytes()) == before


def test_what_the_rules_will_take_is_said_first(rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate.main(["--rule", rule, "--data", "digits", *SMALL, "--baselines", "none"]) == 0
    assert capsys.readouterr().err.startswith("expected: 0:00:0")
