"""wandb's workspace and report, as their own specification, without a server."""

import json
from pathlib import Path

import pytest

from experiment.report.dashboard import specification
from outer_loop.run.wandb_charts import NAMES
from unsupervised_update_rules.commands import make_dashboard


def text_of(specification: object) -> str:
    return json.dumps(specification)


def test_the_workspace_shows_what_matters_first_and_the_rule_last() -> None:
    workspace = specification("team", "project")["workspace"]
    assert (workspace["entity"], workspace["project"]) == ("team", "project")
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    names = [section["name"] for section in sections]
    assert names == ["Training", "Validation", "Outer loop", "Results", "Rule internals"]
    assert [section["isOpen"] for section in sections] == [True, True, True, True, False]
    assert sum(len(section["panels"]) for section in sections) <= 25
    lines = [
        panel["config"]
        for section in sections
        for panel in section["panels"]
        if panel["viewType"] == "Run History Line Plot"
    ]
    assert {line["xAxis"] for line in lines} == {"outer_step"}


def test_every_metric_of_a_run_has_a_chart() -> None:
    made = specification("team", "project")
    shown = text_of(made["workspace"])
    for name in set(NAMES.values()) - {"outer_loop/inner_steps_x_tasks_per_s"}:
        assert name in shown
    for name in ("report/results", "report/page", "meta_validation/receptive_fields"):
        assert name in shown


def test_the_report_is_of_one_group() -> None:
    report = specification("team", "project", "seeds")["report"]
    assert "seeds" in text_of(report)
    assert report["displayName"] == "Meta-training: seeds"


def test_the_command_writes_the_specification_or_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "dashboard.json"
    assert make_dashboard.main(["--entity", "team", "--json", str(path)]) == 0
    assert set(json.loads(path.read_text())) == {"workspace", "report"}
    assert "wrote" in capsys.readouterr().out
    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ValueError, match=r"wandb takes no dashboard \(No API key.*`wandb login` first"):
        make_dashboard.main([])
