"""What docs keep of a training: the curve of a run, and its place in the page of results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from experiment.pages.stored_results import read_stored
from unsupervised_update_rules.commands import meta_train, results_page, training_curve


def test_a_run_becomes_a_curve_and_a_section(tiny_config: Callable[..., list[str]], tmp_path: Path) -> None:
    run, folder = tmp_path / "run", tmp_path / "results"
    folder.mkdir()
    assert meta_train.main(tiny_config("run")) == 0
    assert training_curve.main(["--run", str(run), "--json", str(folder / "training.json")]) == 0
    (curve,) = read_stored([folder / "training.json"]).trainings
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timing = [json.loads(line)["timing/outer_step_s"] for line in (run / "timing.jsonl").read_text().splitlines()]
    assert curve["outer_steps"] == [3, 6]
    assert curve["heldout"] == {"digits": [metrics[step - 1]["heldout/digits/accuracy@4"] for step in (3, 6)]}
    assert curve["seconds"] == pytest.approx([sum(timing[:3]), sum(timing)], abs=0.06)
    assert curve["command"] == f"python scripts/meta_train.py {' '.join(tiny_config('run'))}"
    page = tmp_path / "page.md"
    assert results_page.main(["--results", str(folder), "--rules", "--page", str(page)]) == 0
    (row,) = [line for line in page.read_text().splitlines() if line.startswith("| run |") and "digits" in line]
    means = [100 * value for value in curve["heldout"]["digits"]]
    at, most = max(zip((3, 6), means, strict=True), key=lambda pair: pair[1])
    assert f"| {means[0]:.1f}, {most:.1f} at {at}, {means[1]:.1f} | 6 in 0 min | digits, 4 |" in row
    assert "## How it was made" not in page.read_text()
    assert (tmp_path / "page" / "compute.png").exists()


def test_what_is_no_curve_is_refused(tiny_config: Callable[..., list[str]], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        training_curve.main(["--run", str(tmp_path / "none"), "--json", str(tmp_path / "curve.json")])
    assert meta_train.main(tiny_config("run", "outer_steps=1")) == 0
    metrics = tmp_path / "run" / "metrics.jsonl"
    metrics.write_text('{"outer_step": 1, "meta_loss": 1.0}\n')
    with pytest.raises(ValueError, match="no evaluation on held-out sources yet"):
        training_curve.main(["--run", str(tmp_path / "run"), "--json", str(tmp_path / "curve.json")])
    assert not (tmp_path / "curve.json").exists()
    (tmp_path / "half.json").write_text(json.dumps({"training": {"name": "half"}}))
    with pytest.raises(ValueError, match="nor a training curve"):
        read_stored([tmp_path / "half.json"])
