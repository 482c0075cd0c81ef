"""scripts/evaluate.py from the command line to the table, the JSON file and the plot."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from outer_loop.methods import METHODS
from scripts import evaluate
from update_rules.hebbian import Hebbian
from update_rules.rule_file import save_rule

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
        (["--hidden", "0"], "argument --hidden: got '0'"),
        (["--activation", "sin"], "invalid choice: 'sin'"),
        (["--sweep", "colour"], "invalid choice: 'colour'"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, rule: str, extra: list[str], message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as caught:
        evaluate.main(["--rule", rule, "--data", "digits", *SMALL, *extra])
    assert "\n" not in str(caught.value)


def test_the_script_exits_with_2_and_one_line(tmp_path: Path) -> None:
    argv = [sys.executable, evaluate.__file__, "--rule", "none.safetensors", "--data", "digits"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
