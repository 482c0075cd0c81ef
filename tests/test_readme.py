"""What README shows works: its blocks run and print what it says, its rule meta-trains, its paths and keys exist."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from common.yaml_dialect import parse_yaml
from unsupervised_update_rules.commands import meta_train

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
USE, EXTEND = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
SAYS, QUICKSTART = re.findall(r"```text\n(.*?)```", TEXT, flags=re.DOTALL)


def test_using_a_rule_prints_what_is_shown() -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(USE, "README.md", "exec"), {})
    shown = [[int(number) for number in re.findall(r"\d+", line)[:2]] for line in SAYS.splitlines()]
    found = [[int(number) for number in re.findall(r"\d+", line)[:2]] for line in printed.getvalue().splitlines()]
    assert [line[0] for line in shown] == [line[0] for line in found] == [64, 32]
    for one, other in zip(shown, found, strict=True):
        assert abs(one[1] - other[1]) <= 2  # processors round differently


def test_the_rule_of_ones_own_meta_trains_by_the_command_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_rules.py").write_text(EXTEND, encoding="utf-8")
    assert len(EXTEND.splitlines()) <= 30
    command = next(line for line in TEXT.splitlines() if line.startswith("python scripts/meta_train.py"))
    words = shlex.split(command)[2:]
    assert words[:2] == ["--config", "configs/quickstart.yaml"]
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    quick = ["outer_steps=2", "evaluation.every=2", "evaluation.tasks=2", "report.tasks=2", "tracking=off"]
    assert meta_train.main(["--config", str(ROOT / words[1]), *words[2:], *quick]) == 0
    saved = parse_yaml((tmp_path / "runs" / "mine" / "config.yaml").read_text(encoding="utf-8"), "config.yaml")
    assert saved["rule"]["name"] == "my_rules:Oja"
    assert "untrained_rule" in capsys.readouterr().out


def test_the_table_of_the_quickstart_is_the_one_that_is_stored() -> None:
    results = (ROOT / "results" / "quickstart").glob("*0.json")
    (stored,) = [parse_yaml(path.read_text(encoding="utf-8"), path.name) for path in results]
    rows = {line.split("│")[1].strip(): line for line in QUICKSTART.splitlines() if line.startswith("│")}
    found = {(row["method"], row["source"]): row for row in stored["rows"]}
    assert {method for method, _ in found} == rows.keys()
    for (method, source), row in found.items():
        cell = f"{100 * row['accuracy']:.1f} ± {100 * row['ci95']:.1f}"
        assert rows[method].split("│")[2 if source == "digits" else 4].strip() == cell


def test_files_that_it_names_exist() -> None:
    named = set(re.findall(r"(?:configs|scripts|docs|pretrained)/[\w/-]+\.(?:py|yaml|md)", TEXT))
    named |= {f"configs/{name}" for name in re.findall(r"`(\w+\.yaml)`", TEXT)}
    assert len(named) > 20
    for name in named:
        assert (ROOT / name).exists(), name
