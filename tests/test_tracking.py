"""Tracking: metrics.jsonl to the byte, and the wandb mirror read back from its own run file."""

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import wandb
from wandb.proto.wandb_internal_pb2 import Record

from outer_loop.config.schema import Config
from outer_loop.run.tracking import JsonlTracker, Tracker, Trackers, open_trackers
from outer_loop.run.wandb_tracker import logged_in
from unsupervised_update_rules.commands import evaluate, meta_train

BLOCK = 32768


@pytest.fixture
def lone_wandb(tmp_path, monkeypatch):
    """wandb with no key, no settings and nothing to write to but tmp_path."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("HOME", "NETRC", "WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home" / name))
    wandb.teardown()
    yield
    wandb.teardown()


def records(run_file: Path) -> list[Record]:
    """The records in a .wandb file, after wandb's background process is done with it.

    The file is a header of 7 bytes and a log in LevelDB's format: blocks of 32 KiB, in them chunks of checksum, length,
    type and data; types are 1 whole, 2 first, 3 middle, 4 last.
    """
    wandb.teardown()
    content = run_file.read_bytes()
    assert content[:4] == b":W&B"
    place, parts, found = 7, [], []
    while place < len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        parts.append(content[place + 7 : place + 7 + length])
        place += 7 + length
        if kind in (1, 4):
            found.append(Record.FromString(b"".join(parts)))
            parts = []
    return found


def history(found: list[Record]) -> list[dict]:
    rows = []
    for record in found:
        if record.WhichOneof("record_type") == "history":
            row = {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
            rows.append({key: value for key, value in row.items() if not key.startswith("_")})
    return rows


def run_files(run_dir: Path) -> list[Path]:
    return sorted(run_dir.glob("wandb/offline-run-*/*.wandb"))


def config_for(tmp_path, tracking):
    run_dir = tmp_path / "the_run"
    run_dir.mkdir(exist_ok=True)
    return Config(run_dir=str(run_dir), tracking=tracking, outer_steps=7)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_an_object_with_outer_step_first(tmp_path):
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.log(1, {"meta_loss": 0.1, "dropped_tasks": 0, "gone": float("nan"), "far": -float("inf")})
    tracker.log(1, {"timing/outer_step_s": 0.25}, timing=True)
    expected = '{"outer_step": 1, "meta_loss": 0.1, "dropped_tasks": 0, "gone": null, "far": null}\n'
    assert (tmp_path / "metrics.jsonl").read_text() == expected, "each line is on disk at once"
    assert (tmp_path / "timing.jsonl").read_text() == '{"outer_step": 1, "timing/outer_step_s": 0.25}\n'
    tracker.close()


def test_numbers_come_back_to_the_bit(tmp_path):
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, 2**60, float(np.float32(0.1)), np.float64(0.3)]
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    tracker.log(1, {str(place): value for place, value in enumerate(values)})
    tracker.close()
    assert list(lines(tmp_path / "metrics.jsonl")[0].values())[1:] == values


def write_steps(path, steps, resume_at=None):
    tracker = JsonlTracker(path, resume_at)
    for step in steps:
        tracker.log(step, {"meta_loss": 1 / step})
        tracker.log(step, {"timing/outer_step_s": 1.0}, timing=True)
    tracker.close()


@pytest.mark.parametrize("torn", ["", '{"outer_step": 6, "meta', '{"outer_step": 6}', "\0\0"])
def test_a_resumed_file_equals_one_of_a_run_that_never_stopped(tmp_path, torn):
    for name in ("whole", "resumed"):
        (tmp_path / name).mkdir()
    whole, resumed = tmp_path / "whole" / "metrics.jsonl", tmp_path / "resumed" / "metrics.jsonl"
    write_steps(whole, range(1, 9))
    write_steps(resumed, range(1, 6))
    for path in (resumed, resumed.with_name("timing.jsonl")):
        with path.open("a") as file:
            file.write(torn)
    write_steps(resumed, range(4, 9), resume_at=3)
    for name in ("metrics.jsonl", "timing.jsonl"):
        assert whole.with_name(name).read_bytes() == resumed.with_name(name).read_bytes()


def test_resuming_where_nothing_has_to_be_dropped_leaves_the_file_alone(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(1, 4))
    before = path.stat().st_ino, path.read_bytes()
    JsonlTracker(path, resume_at=3).close()
    assert (path.stat().st_ino, path.read_bytes()) == before


def test_a_new_run_starts_empty_and_a_lost_file_is_begun_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(path, range(1, 4))
    write_steps(path, [1])
    assert len(lines(path)) == 1
    path.unlink()
    write_steps(path, [2], resume_at=1)
    assert [line["outer_step"] for line in lines(path)] == [2]


@pytest.mark.parametrize("line", ["no json", "[1]", '{"step": 1}', '{"outer_step": "1"}', '{"outer_step": null}'])
def test_something_else_in_the_file_is_an_error_with_its_place(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"outer_step": 1}\n' + line + "\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 2 is not an object with outer_step; repair it"):
        JsonlTracker(path, resume_at=1)


class Failing(Tracker):
    """A mirror that fails from the second call on."""

    def __init__(self):
        self.calls = 0

    def log(self, outer_step, metrics, *, timing=False):
        self.calls += 1
        if self.calls > 1:
            raise RuntimeError("quota\nexceeded")


def test_a_mirror_that_fails_is_told_once_and_left_out(tmp_path):
    said, mirror = [], Failing()
    trackers = Trackers(JsonlTracker(tmp_path / "metrics.jsonl"), [mirror, Tracker()], said.append)
    for step in range(1, 6):
        trackers.log(step, {"meta_loss": 0.5})
    trackers.close()
    assert mirror.calls == 2
    assert said == ["Failing stopped, the run goes on without it: quota exceeded"]
    assert len(lines(tmp_path / "metrics.jsonl")) == 5


def test_the_truth_may_not_fail(tmp_path):
    said = []
    trackers = Trackers(Failing(), [], said.append)
    trackers.log(1, {})
    with pytest.raises(RuntimeError, match="quota"):
        trackers.log(2, {})
    assert said == []


@pytest.mark.usefixtures("lone_wandb")
def test_an_offline_run_holds_what_was_logged(tmp_path, capfd):
    config, said = config_for(tmp_path, {"group": "seeds", "tags": "one", "notes": "a try"}), []
    rule, page = tmp_path / "rule.safetensors", tmp_path / "index.html"
    rule.write_bytes(b"theta")
    page.write_text("<p>the report</p>")
    trackers = open_trackers(config, "run1234", None, said.append)
    validated = {"valid/digits@valid/accuracy@0": 0.3, "valid/digits@valid/accuracy@4": 0.5, "best_valid_accuracy": 0.5}
    for step in range(1, 8):
        trackers.log(step, {"meta_loss": 1 / step, "rule/rate.w1": 0.1, **(validated if step % 3 == 0 else {})})
        trackers.log(step, {"timing/outer_step_s": 0.25}, timing=True)
    pictures = {"before": np.eye(8, dtype=np.uint8) * 255, "after": np.zeros((8, 8, 3), np.uint8)}
    trackers.log_images(7, "meta_validation/receptive_fields", pictures)
    trackers.log_table(7, "report/results", ["method", "accuracy"], [["rule", 0.5], ["raw", 0.25]])
    trackers.log_page(7, "report/page", page)
    trackers.summarise({"results/digits/rule": 0.5})
    trackers.log_artifact(rule, "rule")
    trackers.close()
    assert capfd.readouterr() == ("", ""), "wandb is silent"
    assert said == []

    (run_file,) = run_files(Path(config.run_dir))
    found = records(run_file)
    (run,) = [record.run for record in found if record.WhichOneof("record_type") == "run"]
    assert (run.run_id, run.project, run.display_name) == ("run1234", "unsupervised-update-rules", "the_run")
    assert (run.run_group, run.job_type, list(run.tags), run.notes) == ("seeds", "meta_train", ["one"], "a try")
    settings = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert settings["outer"] == config.model_dump(mode="json")["outer"]
    assert settings["outer_steps"] == 7

    rows = history(found)
    named = "meta_train/meta_loss"
    assert [row[named] for row in rows if named in row] == [1 / step for step in range(1, 8)]
    assert [row["meta_validation/digits_valid"] for row in rows if "meta_validation/digits_valid" in row] == [0.5, 0.5]
    assert [row["outer_loop/step_seconds"] for row in rows if "outer_loop/step_seconds" in row] == [0.25] * 7
    assert {row["outer_step"] for row in rows} == set(range(1, 8))
    (images,) = [row for row in rows if "meta_validation/receptive_fields/count" in row]
    assert json.loads(json.dumps(images["meta_validation/receptive_fields/captions"])) == ["before", "after"]
    assert len(list(run_file.parent.glob("files/media/images/**/*.png"))) == 2
    (table,) = run_file.parent.glob("files/media/table/report/results_*.table.json")
    assert json.loads(table.read_text())["data"] == [["rule", 0.5], ["raw", 0.25]]
    (html,) = run_file.parent.glob("files/media/html/report/page_*.html")
    assert "the report" in html.read_text()
    curves = sorted(run_file.parent.glob("files/media/table/meta_validation/*by_inner_step*.table.json"))
    lines_of = [{tuple(row) for row in json.loads(path.read_text())["data"]} for path in curves]
    assert {(0, "outer step 3", 0.3), (4, "outer step 3", 0.5), (4, "outer step 6", 0.5)} <= set.union(*lines_of)

    summary = {}
    for record in found:
        if record.WhichOneof("record_type") == "summary":
            summary |= {item.key or "/".join(item.nested_key): item.value_json for item in record.summary.update}
    assert json.loads(summary["results/digits/rule"]) == 0.5
    metrics = [record.metric for record in found if record.WhichOneof("record_type") == "metric"]
    assert any(metric.glob_name == "*" and metric.step_metric == "outer_step" for metric in metrics)
    assert any(metric.glob_name == "rule_internals/*" and metric.options.hidden for metric in metrics)
    artifacts = [record.artifact for record in found if record.WhichOneof("record_type") == "artifact"]
    (artifact,) = [one for one in artifacts if one.type == "rule"]
    assert [entry.path for entry in artifact.manifest.contents] == ["rule.safetensors"]
    linked = list(tmp_path.glob("offline-run-*"))
    assert [link.resolve() for link in linked] == [run_file.parent.resolve()], "as wandb leet wants to find it"


def chart_keys(found: list[Record]) -> set[str]:
    """What wandb makes charts of: the keys of the history, of media one, without what is hidden."""
    hidden = [one.metric for one in found if one.WhichOneof("record_type") == "metric" and one.metric.options.hidden]
    names = {(metric.name or metric.glob_name).rstrip("*") for metric in hidden}
    keys = {
        item.key or item.nested_key[0]
        for one in found
        if one.WhichOneof("record_type") == "history"
        for item in one.history.item
    }
    return {key for key in keys if not key.startswith(("_", *names))}


@pytest.mark.usefixtures("lone_wandb")
def test_the_quickstart_has_few_charts_its_final_table_and_its_report(tmp_path, monkeypatch):
    short = ["outer_steps=2", "evaluation.every=1", "evaluation.tasks=2", "report.tasks=2", "tracking=offline"]
    short += ["evaluation.steps=4", "evaluation.read_every=2", "report.steps=4"]
    config = [
        "--config",
        str(Path(__file__).parent.parent / "configs" / "quickstart.yaml"),
        f"run_dir={tmp_path / 'q'}",
    ]
    assert meta_train.main([*config, *short, "tasks.sources=mnist5k", "evaluation.sources=digits"]) == 0
    (run_file,) = run_files(tmp_path / "q")
    found = records(run_file)
    keys = chart_keys(found)
    assert len(keys) <= 25, sorted(keys)
    sections = sorted({key.partition("/")[0] for key in keys})
    assert sections == ["meta_train", "meta_validation", "outer_loop", "report"], "in wandb's order"
    (table,) = run_file.parent.glob("files/media/table/report/results_*.table.json")
    written = json.loads(table.read_text())
    results = json.loads((tmp_path / "q" / "report" / "results.json").read_text())
    method, accuracy = (written["columns"].index(name) for name in ("method", "accuracy"))
    assert {row[method]: row[accuracy] for row in written["data"]} == {
        row["method"]: row["accuracy"] for row in results["rows"]
    }
    (page,) = run_file.parent.glob("files/media/html/report/page_*.html")
    assert page.read_bytes() == (tmp_path / "q" / "report" / "index.html").read_bytes()
    summary = [one.summary for one in found if one.WhichOneof("record_type") == "summary"]
    said = {item.key or "/".join(item.nested_key): item.value_json for one in summary for item in one.update}
    assert json.loads(said["results/digits/rule"]) == next(
        r["accuracy"] for r in results["rows"] if r["method"] == "rule"
    )
    assert any(key.startswith("report/digits_by_inner_step") for key in keys)


@pytest.mark.usefixtures("lone_wandb")
def test_scripts_log_what_they_found_where_they_are_asked_to(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    few = ["--data", "digits", "--ways", "2", "--shots", "1", "--tasks", "2", "--baselines", "raw", "--threads", "1"]
    assert evaluate.main(few) == 0
    assert not (tmp_path / "runs").exists()
    assert evaluate.main([*few, "--track", "offline", "--plot", "plot.png"]) == 0
    (run_file,) = tmp_path.glob("runs/evaluate-*/wandb/offline-run-*/*.wandb")
    found = records(run_file)
    (run,) = [one.run for one in found if one.WhichOneof("record_type") == "run"]
    assert run.job_type == "evaluate"
    assert chart_keys(found) == {"report/results", "report/plot"}


@pytest.mark.usefixtures("lone_wandb")
def test_a_resumed_offline_run_keeps_its_id_and_its_x_axis(tmp_path, capfd):
    config = config_for(tmp_path, "offline")
    for steps, resume_at in (((1, 2, 3), None), ((3, 4), 2)):
        trackers = open_trackers(config, "run1234", resume_at, print)
        for step in steps:
            trackers.log(step, {"meta_loss": 1 / step})
        trackers.close()
    assert capfd.readouterr() == ("", "")
    files = run_files(Path(config.run_dir))
    assert len(files) == 2
    logged = []
    for file in files:
        found = records(file)
        assert [record.run.run_id for record in found if record.WhichOneof("record_type") == "run"] == ["run1234"]
        logged.append([(row["outer_step"], row["meta_train/meta_loss"]) for row in history(found)])
    assert logged == [[(1, 1.0), (2, 1 / 2), (3, 1 / 3)], [(3, 1 / 3), (4, 1 / 4)]]
    assert [line["outer_step"] for line in lines(Path(config.run_dir) / "metrics.jsonl")] == [1, 2, 3, 4]


@pytest.mark.usefixtures("lone_wandb")
@pytest.mark.parametrize(
    ("tracking", "mode"), [("off", None), ("off", "offline"), ("auto", "disabled"), ("online", "disabled")]
)
def test_wandb_can_be_off(tmp_path, monkeypatch, tracking, mode):
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    config, said = config_for(tmp_path, tracking), []
    trackers = open_trackers(config, "run1234", None, said.append)
    trackers.log(1, {"meta_loss": 0.5})
    trackers.close()
    assert said == []
    assert sorted(path.name for path in Path(config.run_dir).iterdir()) == ["metrics.jsonl", "timing.jsonl"]


@pytest.mark.usefixtures("lone_wandb")
def test_the_variable_goes_before_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    config, said = config_for(tmp_path, "online"), []
    open_trackers(config, "run1234", None, said.append).close()
    assert said == []
    assert len(run_files(Path(config.run_dir))) == 1


@pytest.mark.usefixtures("lone_wandb")
@pytest.mark.parametrize(
    ("variables", "part"),
    [
        ({}, "No API key configured"),
        ({"WANDB_MODE": "onlin"}, "Input should be 'online', 'offline'"),
    ],
)
def test_without_wandb_the_run_goes_on(tmp_path, monkeypatch, capfd, variables, part):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    config, said = config_for(tmp_path, "online"), []
    trackers = open_trackers(config, "run1234", None, said.append)
    trackers.log(1, {"meta_loss": 0.5})
    trackers.close()
    (line,) = said
    assert line.startswith("wandb did not start, the run goes on without it: ")
    assert part in line
    assert "\n" not in line
    assert len(lines(Path(config.run_dir) / "metrics.jsonl")) == 1
    assert capfd.readouterr().out == ""


@pytest.mark.usefixtures("lone_wandb")
def test_with_a_key_and_no_network_the_run_is_kept_offline(tmp_path, monkeypatch):
    monkeypatch.setattr("outer_loop.run.wandb_tracker.INIT_TIMEOUT_S", 5)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # where nobody listens
    config, said = config_for(tmp_path, "auto"), []
    trackers = open_trackers(config, "run1234", None, said.append)
    trackers.log(1, {"meta_loss": 0.5})
    trackers.close()
    (line,) = said
    assert line.startswith("wandb cannot be reached")
    assert "the run is kept offline, `wandb sync` uploads it later" in line
    (run_file,) = run_files(Path(config.run_dir))
    assert [row["meta_train/meta_loss"] for row in history(records(run_file))] == [0.5]


@pytest.mark.usefixtures("lone_wandb")
def test_a_key_is_found_in_the_environment_or_the_netrc_file(tmp_path, monkeypatch, capfd):
    assert not logged_in()
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    assert logged_in()
    monkeypatch.delenv("WANDB_API_KEY")
    wandb.teardown()
    assert not logged_in()
    netrc = tmp_path / "netrc"
    netrc.write_text("machine api.wandb.ai login user password " + "b" * 40 + "\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert logged_in()
    assert capfd.readouterr() == ("", "")
