"""Results, figures and the report page."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rich.console import Console

from evaluation.comparison import Measured
from evaluation.methods import BASELINES, CHEAP, CLASSIFIED
from evaluation.results import Results, leader, summarise, task_accuracies, write_results
from evaluation.results_table import results_table
from evaluation.statistics import Mean
from experiment.report import plots
from experiment.report.report import read_metrics, write_report
from experiment.report.sweep_plot import line_figure
from tasks.dataset import Dataset
from tasks.source import TaskSource

METHODS = ("rule", *CHEAP)
NAME = "npz:<b>&$x$[red]"
FIELDS = {NAME: (np.random.default_rng(0).normal(size=(5, 4, 4)).astype(np.float32),) * 2}
CURVES = {NAME: {method: {0: Mean(0.3, 0.02), 5: Mean(0.5, 0.03)} for method in METHODS[:2]}}
METRICS = [
    {"outer_step": 1, "meta_loss": 0.9},
    {"outer_step": 2, "meta_loss": None, "valid/g/accuracy@0": 0.3, "valid/g/accuracy@10": 0.4},
    {"outer_step": 3, "meta_loss": 0.7, "valid/g/accuracy@0": 0.3, "valid/g/accuracy@10": None},
]


def results(names: tuple[str, ...] = METHODS, leads: bool = True) -> Results:
    x = torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    data = Dataset("d", x, torch.arange(4).repeat_interleave(10), None, tuple("abcd"))
    source = TaskSource((data,), ways=4, shots=3, queries=5, permute=False)
    accuracies = {method: [0.5 - 0.1 * place, 0.7 - 0.1 * place] for place, method in enumerate(names)}
    measured = [
        Measured(method, 3, "ridge", None, "", values, diverged=int(method == "untrained_rule"))
        for method, values in accuracies.items()
    ]
    per_task = [one for name in (NAME, "digits") for one in task_accuracies(measured, name, source, seed=7, size=None)]
    return summarise(per_task, {"k": "<i>", "rules": {"rule": {"file": "<b>"}}}, leads)


class References(HTMLParser):
    """Collects what a page would fetch, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]

    def handle_data(self, data: str) -> None:
        self.text += data


def report(folder: Path, **changes: object) -> str:
    arguments = {
        "title": "runs/<script>alert(1)</script>",
        "sees_labels": False,
        "metrics": METRICS,
        "results": results(),
        "inner_curves": CURVES,
        "receptive_fields": FIELDS,
        "config": "seed: 0 # </pre><script>",
        **changes,
    }
    return write_report(folder, **arguments).read_text()


def test_results_have_the_fixed_names_and_the_right_numbers(tmp_path: Path) -> None:
    write_results(tmp_path / "results.json", results())
    written = json.loads((tmp_path / "results.json").read_text())
    assert set(written) == {"rows", "differences", "per_task", "meta"}
    assert [row["method"] for row in written["rows"]] == [*METHODS, *METHODS]
    first = written["rows"][0]
    assert first["accuracy"] == pytest.approx(0.6)
    assert first["ci95"] == pytest.approx(0.1 * 12.7062, rel=1e-5)  # t(0.975, 1) times the standard error of two tasks
    facts = {key: first[key] for key in ("method", "source", "ways", "shots", "readout", "tasks", "seed")}
    assert list(facts.values()) == ["rule", NAME, 4, 3, "ridge", 2, 7]
    lead = written["differences"][3]
    assert (lead["method"], lead["minus"], lead["tasks"]) == ("rule", "pca", 2)
    assert lead["difference"] == pytest.approx(0.4)
    assert lead["ci95"] == pytest.approx(0, abs=1e-9)
    assert written["meta"]["diverged"]["digits"] == {**dict.fromkeys(METHODS, 0), "untrained_rule": 1}


def test_the_table_has_a_row_a_method_and_a_column_a_source() -> None:
    output = io.StringIO()
    Console(width=120, file=output).print(results_table(results()))
    text = output.getvalue()
    assert "2 networks did not stay finite" in " ".join(text.split())
    lines = text.splitlines()
    assert NAME in lines[1]
    assert "digits" in lines[1]
    assert [line.split()[1] for line in lines if line.startswith("│")] == list(METHODS)
    assert "60.0 ± 127.1" in next(line for line in lines if "│ rule " in line)
    assert "+40.0 ± 0.0" in next(line for line in lines if "│ pca" in line)


def printed(found: Results) -> list[str]:
    output = io.StringIO()
    Console(width=160, file=output).print(results_table(found))
    return output.getvalue().splitlines()


def test_leads_are_those_of_the_first_method_and_the_table_says_whose() -> None:
    lines = printed(results())
    assert lines[1].count("rule leads") == 2
    assert "how far the rule leads on the same tasks" in " ".join(" ".join(lines).split())
    several = results(("[red]mine", "[red]mine, untrained", "theirs", "raw"))
    assert leader(several) == "[red]mine"
    assert {(one["method"], one["minus"]) for one in several["differences"]} == {
        ("[red]mine", other) for other in ("[red]mine, untrained", "theirs", "raw")
    }
    lines = printed(several)
    assert lines[1].count("[red]mine leads") == 2
    assert "how far [red]mine leads on the same tasks" in " ".join(" ".join(lines).split())
    assert "+20.0 ± 0.0" in next(line for line in lines if "│ theirs " in line)
    assert "+" not in next(line for line in lines if "│ [red]mine " in line)
    without = results(("raw", "pca"), leads=False)
    assert (leader(without), without["differences"]) == (None, [])
    assert "leads" not in " ".join(printed(without))


def test_the_page_needs_no_other_file_and_escapes_names(tmp_path: Path) -> None:
    page = References()
    page.feed(report(tmp_path / "report"))
    assert len(page.fetched) == 5
    for reference in page.fetched:
        assert reference.startswith("data:image/svg+xml;base64,")
        drawing = base64.b64decode(reference.partition(",")[2]).decode()
        assert all(link.startswith(("#", "data:image/png")) for link in re.findall(r'href="([^"]*)"', drawing))
        assert all(link.startswith("#") for link in re.findall(r"url\(([^)]*)\)", drawing))
    assert not page.tags & {"script", "b", "i", "link", "iframe"}
    for text in (
        NAME,
        "runs/<script>alert(1)</script>",
        "seed: 0 # </pre><script>",
        "60.0 ± 127.1",
        "rule leads +40.0 ± 0.0",
    ):
        assert text in page.text
    assert "rules.rule.file<b>" in page.text
    assert json.loads((tmp_path / "report" / "results.json").read_text()) == results()
    assert sorted(file.name for file in (tmp_path / "report").iterdir()) == ["index.html", "results.json"]


def test_the_same_run_gives_the_same_page_and_parts_may_be_missing(tmp_path: Path) -> None:
    assert report(tmp_path) == report(tmp_path)
    page = References()
    page.feed(report(tmp_path, metrics=[], inner_curves={}, receptive_fields={}))
    assert len(page.fetched) == 1
    page = References()
    page.feed(report(tmp_path, metrics=METRICS[:1]))
    assert len(page.fetched) == 4


def test_figures_show_what_was_measured() -> None:
    points = plots.accuracy_points(results()).axes[0]
    rule, other = ([round(float(y), 6) for y in one.lines[0].get_ydata()] for one in points.containers[:2])
    assert (rule, other) == ([60, 60], [50, 50])
    curves = plots.validation_curves(METRICS)
    assert curves is not None
    after, before = curves.axes[0].lines
    assert after.get_xydata().tolist() == [[2, 40]]
    assert before.get_xydata().tolist() == [[2, 30], [3, 30]]
    assert plots.validation_curves(METRICS[:1]) is None
    loss, mean = plots.meta_loss_curve(METRICS).axes[0].lines
    np.testing.assert_array_equal(loss.get_ydata(), [0.9, np.nan, 0.7])
    assert mean.get_xdata().tolist() == [1, 2, 3]
    long = line_figure("steps", {"npz:/a/rather/long/folder/name/d$.npz": CURVES[NAME]}).axes[0].get_title()
    assert long == r"…ng/folder/name/d\$.npz"
    curve = line_figure("steps", CURVES).axes[0].lines[0]
    assert curve.get_xydata().tolist() == [[0, 30], [5, 50]]


def test_axes_of_accuracies_show_differences_and_not_noise() -> None:
    assert plots.accuracy_range([97.0, 98.0]) == pytest.approx((90.0, 100.0))
    assert plots.accuracy_range([0.0, 1.0]) == (0.0, 10.0)
    assert plots.accuracy_range([50.0, 51.0]) == pytest.approx((45.5, 55.5))
    assert plots.accuracy_range([20.0, 90.0]) == (13.0, 97.0)


def test_the_page_says_of_rules_that_see_labels_that_they_do(tmp_path: Path) -> None:
    assert "from unlabelled examples alone" in report(tmp_path)
    adapted = report(tmp_path, sees_labels=True)
    assert "unlabelled examples alone" not in adapted
    assert "from its few labelled examples" in adapted


def test_nothing_on_the_page_is_wider_than_a_phone(tmp_path: Path) -> None:
    """Tables and code scroll in boxes of their own, pictures shrink, figures side by side wrap, long names break."""
    style = report(tmp_path).partition("<style>")[2].partition("</style>")[0]
    for rule in (".wide { overflow-x: auto", "img { max-width: 100%", "min(24rem, 100%)", "pre { overflow-x: auto"):
        assert rule in style
    body = report(tmp_path).partition("<body>")[2]
    assert body.count("<table>") == body.count('<div class="wide"><table>')


@pytest.mark.parametrize("names", [CHEAP, CLASSIFIED, tuple(BASELINES), ("a_name_of_many_letters_indeed", "other")])
def test_the_names_of_all_methods_fit_into_the_figure(names: tuple[str, ...]) -> None:
    figure = plots.accuracy_points(results(("rule", *names)))
    FigureCanvasAgg(figure).draw()
    box, (axis,) = figure.bbox, figure.axes
    legend = axis.get_legend()
    assert len(legend.get_texts()) == 1 + len(names)
    extent = legend.get_window_extent()
    assert box.x0 <= extent.x0 < extent.x1 <= box.x1
    assert axis.get_window_extent().width > box.width / 2


def test_a_figure_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    plots.save_png(plots.accuracy_points(results()), tmp_path / "bars.png")
    assert (tmp_path / "bars.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OSError, match="cannot write"):
        plots.save_png(plots.accuracy_points(results()), tmp_path / "no" / "bars.png")
    assert [file.name for file in tmp_path.iterdir()] == ["bars.png"]


@pytest.mark.parametrize("text", ['{"outer_step": 1}\n{"outer_st', '{"meta_loss": 1}', "[1]"])
def test_a_foreign_metrics_file_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"outer_step": 1, "meta_loss": 0.5}\n')
    assert read_metrics(path) == [{"outer_step": 1, "meta_loss": 0.5}]
    path.write_text(text)
    with pytest.raises(ValueError, match=r"metrics.jsonl: line \d is not a JSON object with outer_step"):
        read_metrics(path)
