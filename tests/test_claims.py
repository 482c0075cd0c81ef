"""What README and docs say in numbers: each claim from its files, pages as written."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiment.report.claims import Claim, claims_text, command_form, read_claims, recompute, told
from experiment.report.pages import render
from unsupervised_update_rules.commands import pages

ROOT = Path(__file__).parent.parent
CLAIMS = read_claims(ROOT / "results" / "claims.yaml")
STUDIES = sorted((ROOT / "results" / "studies").glob("*.yaml"))
WORDS = 25
"""The longest that a claim may say."""


@pytest.fixture(scope="module")
def anew() -> list[Claim]:
    """Every claim as its files tell it today."""
    return [recompute(claim, ROOT) for claim in CLAIMS]


def test_every_claim_is_what_its_files_tell(anew: list[Claim]) -> None:
    for claim, found in zip(CLAIMS, anew, strict=True):
        for key in ("value", "low", "high"):
            assert (claim[key] is None) == (found[key] is None), claim["id"]
            assert claim[key] is None or abs(claim[key] - found[key]) <= 1e-9, claim["id"]
        same = ("unit", "tasks", "files", "command", "commit")
        assert {key: claim[key] for key in same} == {key: found[key] for key in same}, claim["id"]
        assert told(claim) == told(found)


def test_a_claim_is_the_mean_over_tasks_that_one_computes_by_hand() -> None:
    (claim,) = (claim for claim in CLAIMS if claim["id"] == "winners-over-raw-mnist-10")

    def accuracies(name: str, method: str) -> list[float]:
        entries = json.loads((ROOT / "results" / "meta_training" / name).read_text())["per_task"]
        wanted = {"method": method, "source": "mnist@test", "shots": 10, "readout": "ridge"}
        (found,) = (one for one in entries if all(one[key] == value for key, value in wanted.items()))
        return list(found["accuracies"])

    lead = 100 * np.subtract(accuracies("hebbian_winners_0_far.json", "rule"), accuracies("baselines_far.json", "raw"))
    half = 1.9842169515864 * lead.std(ddof=1) / math.sqrt(100)  # t(0.975, 99)
    assert (claim["value"], claim["low"], claim["high"]) == pytest.approx(
        (lead.mean(), lead.mean() - half, lead.mean() + half)
    )
    assert claim["tasks"] == len(lead) == 100


def test_a_claim_says_no_more_than_its_interval() -> None:
    for claim in CLAIMS:
        says = claim["says"]
        assert says.endswith("."), claim["id"]
        assert len(says.split()) <= WORDS, claim["id"]
        if claim["unit"] == "points":
            words = (r"\b(beats?|helps?)\b", r"\b(loses|hurts?)\b", r"\blevel\b")
            ahead, behind = claim["low"] > 0, claim["high"] < 0
            assert [bool(re.search(word, says)) for word in words] == [ahead, behind, not ahead and not behind], says
        else:
            assert re.match(r"(Accuracy|Adjusted Rand index|Agreement|Error|Share|Time|Memory) o[fn] ", says), says


def test_claims_and_pages_on_disk_are_what_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--check"]) == 0, capsys.readouterr().out
    shown = {f"{study.stem}.md" for study in STUDIES}
    shown |= set(
        re.findall(r"!\[.*?\]\((.*?)\)", "".join((ROOT / "docs" / "results" / name).read_text() for name in shown))
    )
    assert {path.name for path in (ROOT / "docs" / "results").iterdir()} == shown


STUDY = """\
title: Which is better?
lead: "It is {lead:.0f} points."
files: [results/*.json]
of: {source: digits, ways: 5, readout: ridge}
sections:
- heading: Accuracy
  rows: {"the | rule": mine, pixels: raw}
  columns: {one label: {shots: 1}, five labels: {shots: 5}}
- heading: Lead
  of: {method: mine, shots: 1}
  each: minus
  rows: {pixels: raw}
  columns: {digits: {}}
  beside: {published: {pixels: "9"}}
- heading: Said
  claims: [lead]
- heading: Drawn
  figure: {name: drawn.png, along: shots, values: [1, 5], panels: {digits: {}}, rows: {mine: mine, raw: raw}}
- heading: Mapped
  figure:
    name: mapped.png
    axis: points
    points: {labels: {one: {shots: 1}, five: {shots: 5}}}
    rows: {raw: {method: raw}}
- heading: Elsewhere
  table: [[system, accuracy], [theirs, "50.0"]]
- heading: Learned
  equation: hebbian
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small repository: a rule and pixels on two tasks of one and five labels, one claim, one study."""
    for folder in ("results/studies", "docs/results"):
        (tmp_path / folder).mkdir(parents=True)
    about = {"source": "digits", "ways": 5, "queries": 5, "size": 8, "permute": True, "readout": "ridge", "setting": {}}
    meta = {
        "rule_file": "runs/mine.safetensors",
        "rule": "hebbian",
        "outputs": 4,
        "command": "python x.py",
        "commit": "c" * 40,
    }
    found = {("rule", 1): [0.5, 0.75], ("raw", 1): [0.25, 0.25], ("raw", 5): [0.5, 1.0]}
    per_task = [
        about | {"method": method, "shots": shots, "seed": 0, "drawn": str(shots), "accuracies": values}
        for (method, shots), values in found.items()
    ]
    (tmp_path / "results" / "mine.json").write_text(json.dumps({"meta": meta, "per_task": per_task}))
    of = {"method": "mine", "minus": "raw", "source": "digits", "shots": 1}
    claim = {"id": "lead", "says": "It is level.", "of": of, "files": ["results/*.json"], "target": 40}
    (tmp_path / "results" / "claims.yaml").write_text(claims_text([claim]))
    (tmp_path / "results" / "studies" / "which.yaml").write_text(STUDY)
    return tmp_path


def test_the_command_fills_in_claims_and_writes_pages(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pages.main(["--root", str(root), "--check"]) == 1
    assert not (root / "docs" / "results" / "which.md").exists()
    (root / "README.md").write_text("<!-- claims: lead -->\n| | lead |\n| --- | ---: |\n| mine | ? |\n")
    assert pages.main(["--root", str(root)]) == 0
    (claim,) = read_claims(root / "results" / "claims.yaml")
    assert (claim["value"], claim["unit"], claim["tasks"]) == (37.5, "points", 2)
    half = 12.7062047364 * 12.5  # t(0.975, 1)
    assert (claim["low"], claim["high"]) == pytest.approx((37.5 - half, 37.5 + half))
    assert (claim["command"], claim["commit"]) == (["python x.py"], ["c" * 10])
    assert (root / "README.md").read_text().endswith("| mine | +37.5 ± 158.8 |\n")
    text = (root / "docs" / "results" / "which.md").read_text()
    assert text.startswith("# Which is better?\n\nWritten by `make pages`")
    assert "It is 38 points." in text
    assert "| the \\| rule | 62.5 ± 158.8 |  |" in text
    assert "| pixels | 25.0 ± 0.0 | 75.0 ± 317.7 |\n\nOver 2 tasks, here and below." in text
    assert "| pixels | +37.5 ± 158.8 | 9 |\n\n## Said" in text
    assert "- It is level: +37.5 points (-121.3 to +196.3); target 40 points." in text
    assert "| theirs | 50.0 |" in text
    assert "decorrelate" in text
    assert "| results/mine.json | `python x.py` | cccccccccc |" in text
    for name in ("drawn.png", "mapped.png"):
        assert (root / "docs" / "results" / name).read_bytes().startswith(b"\x89PNG")
    assert pages.main(["--root", str(root), "--check"]) == 0
    capsys.readouterr()
    (root / "results" / "claims.yaml").write_text(
        (root / "results" / "claims.yaml").read_text().replace("37.5", "37.6")
    )
    assert pages.main(["--root", str(root), "--check"]) == 1
    assert "differs: results/claims.yaml" in capsys.readouterr().out


def test_a_figure_of_what_is_not_stored_is_refused(root: Path) -> None:
    study = root / "results" / "studies" / "which.yaml"
    study.write_text(STUDY.replace("rows: {raw: {method: raw}}", "rows: {mine: {method: mine}}"))
    with pytest.raises(ValueError, match=r"figure mapped.png: nothing is stored for mine, five"):
        pages.main(["--root", str(root)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"says": ""}, "claims.yaml: claim lead with no says, expected id, says, of, files"),
        ({"files": []}, "claims.yaml: claim lead with no files"),
        ({"files": ["results/none.json"]}, "results/none.json: no such file"),
        ({"of": {"method": "mine", "source": "mnist"}}, r"claim lead: results/\*.json tell nothing of"),
        ({"of": {"method": "raw", "source": "digits"}}, "raw was measured for several of shots"),
        (
            {"files": ["results/mine.json", "results/other.json"]},
            "claim lead: nothing of it is from results/other.json",
        ),
    ],
)
def test_a_claim_without_backing_is_refused(root: Path, change: dict[str, Any], message: str) -> None:
    path = root / "results" / "claims.yaml"
    (claim,) = read_claims(path)
    path.write_text(claims_text([claim | change]))
    (root / "results" / "other.json").write_text('{"meta": {"command": "b", "commit": "c"}}')
    with pytest.raises(ValueError, match=message):
        [recompute(one, root) for one in read_claims(path)]


def test_two_claims_of_one_name_are_refused(root: Path) -> None:
    path = root / "results" / "claims.yaml"
    path.write_text(claims_text(read_claims(path) * 2))
    with pytest.raises(ValueError, match="claim lead with an id that another has"):
        read_claims(path)


def test_a_row_or_a_column_of_nothing_is_refused(root: Path) -> None:
    study = root / "results" / "studies" / "which.yaml"
    claims = {claim["id"]: recompute(claim, root) for claim in read_claims(root / "results" / "claims.yaml")}
    for old, new, name in (("pixels: raw", "pixels: rew", "pixels"), ("{shots: 5}", "{shots: 6}", "five labels")):
        study.write_text(STUDY.replace(old, new))
        with pytest.raises(ValueError, match=f"section Accuracy: nothing is stored for {name}"):
            render(study, root, claims)


def test_what_is_beside_no_row_is_refused(root: Path) -> None:
    study = root / "results" / "studies" / "which.yaml"
    claims = {claim["id"]: recompute(claim, root) for claim in read_claims(root / "results" / "claims.yaml")}
    study.write_text(STUDY.replace('{pixels: "9"}', '{pixel: "9"}'))
    with pytest.raises(ValueError, match="section Lead: published is told of pixel, expected rows"):
        render(study, root, claims)


def test_commands_of_one_kind_have_one_form() -> None:
    forms = {
        command_form(
            f"python e.py --rule {rules} --data {data} --seeds {seeds} --encoder runs/e.safetensors --json a.json"
        )
        for rules, data, seeds in (
            ("runs/a/rule.safetensors", "x y", "0"),
            ("results/rules/some/a_1.safetensors results/rules/some/a_2.safetensors", "npz:../z.npz@test", "1 2"),
        )
    }
    assert forms == {"python e.py --rule RUN --data DATA --seeds SEEDS --encoder runs/e.safetensors"}
    assert command_form("python e.py --rule hebbian --data x") == "python e.py --rule hebbian --data DATA"
