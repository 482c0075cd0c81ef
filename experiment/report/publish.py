"""The results of a run or an evaluation, as whoever follows it elsewhere sees them."""

from collections.abc import Mapping
from pathlib import Path

from evaluation.results import Entry, Results
from evaluation.statistics import Mean
from outer_loop.run.tracking import Tracker
from outer_loop.run.wandb_charts import plain

COLUMNS = (
    *("source", "method", "shots", "readout", "setting", "seed", "accuracy", "ci95", "tasks"),
    *("compared", "leads_by", "leads_by_ci95"),
)
"""Of the final table; the last three say who leads the method on the same tasks, and by how much."""


def publish(
    tracker: Tracker,
    outer_step: int,
    results: Results,
    page: Path | None = None,
    inner_curves: Mapping[str, Mapping[str, Mapping[int, Mean]]] | None = None,
) -> None:
    """Give ``tracker`` the final table, its accuracies as the run's summary, curves by inner step and the page."""
    leads = {(*_place(one), one["minus"]): one for one in results["differences"]}
    rows, summary = [], {}
    several = len({_place(row)[1:] for row in results["rows"]}) > 1
    for row in results["rows"]:
        lead = leads.get((*_place(row), row["method"]))
        compared = ("", None, None) if lead is None else (lead["method"], lead["difference"], lead["ci95"])
        setting = " ".join(f"{name}={value}" for name, value in row["setting"].items())
        rows.append(
            [
                *(row["source"], row["method"], row["shots"], row["readout"], setting, row["seed"]),
                *(row["accuracy"], row["ci95"], row["tasks"], *compared),
            ]
        )
        views = (f"{row['shots']}-shot", row["readout"], setting, f"seed {row['seed']}") if several else ()
        parts = [plain(part) for part in (row["source"], row["method"], *views) if part]
        summary["/".join(["results", *parts])] = row["accuracy"]
    tracker.log_table(outer_step, "report/results", COLUMNS, rows)
    for source, curves in (inner_curves or {}).items():
        lines = {method: {step: mean.value for step, mean in curve.items()} for method, curve in curves.items()}
        tracker.log_curves(
            outer_step, f"report/{plain(source)}_by_inner_step", f"{source}: accuracy", "inner step", lines
        )
    if page is not None:
        tracker.log_page(outer_step, "report/page", page)
    tracker.summarise(summary)


def _place(entry: Entry) -> tuple[str, int, str, str, int]:
    """What two methods share where they are compared."""
    return entry["source"], entry["shots"], entry["readout"], str(entry["setting"]), entry["seed"]
