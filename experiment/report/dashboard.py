"""wandb's workspace and report for meta-training runs, as code: what is looked at first, in the order of looking."""

from typing import Any

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces

from outer_loop.run.metric_names import BEST, CHOSEN_BY
from outer_loop.run.wandb_charts import NAMES, RULE_CHARTS

NAME = "Meta-training"

X = "outer_step"

SECTIONS: dict[str, dict[str, str]] = {
    "Training": {"meta-loss": NAMES["meta_loss"], "accuracy on training tasks": NAMES["accuracy"]},
    "Validation": {
        "what the best is chosen by": NAMES[CHOSEN_BY],
        "best so far": NAMES[BEST],
        "accuracy by source": r"^meta_validation/(?!accuracy$|best_accuracy|table|.*_by_inner_step).*$",
    },
    "Outer loop": {
        "gradient norm before clipping": NAMES["gradient_norm"],
        "share of clipped steps": NAMES["clipped_share"],
        "learning rate": NAMES["learning_rate"],
        "inner steps": NAMES["inner_steps"],
        "dropped tasks": NAMES["dropped_tasks_total"],
        "seconds an outer step": NAMES["timing/outer_step_s"],
        "memory, MB": NAMES["memory/rss_mb"],
    },
    "Rule internals": {"what the rule says of itself": f"^{RULE_CHARTS}.*$"},
}
"""Section -> title of a chart -> the metric in it, or the pattern of those in it."""

PICTURES = {"Validation": ("meta_validation/receptive_fields",), "Results": ("report/page",)}
RESULTS = "report/results"
"""The final table."""


def line_charts(section: str) -> list[Any]:
    """The line charts of ``section``, one of SECTIONS."""
    made = []
    for title, metric in SECTIONS[section].items():
        which = {"metric_regex": metric} if metric.startswith("^") else {"y": [metric]}
        made.append(reports.LinePlot(title=title, x=X, title_x="outer step", **which))
    return made


def results_panels() -> list[Any]:
    """The final table and the page of the report."""
    return [
        reports.WeavePanelSummaryTable(table_name=RESULTS),
        reports.MediaBrowser(title="report", media_keys=list(PICTURES["Results"]), num_columns=1),
    ]


def make_workspace(entity: str, project: str) -> workspaces.Workspace:
    """The workspace of ``project``: training, validation, outer loop, results, and last, closed, the rule's own."""
    panels = {name: line_charts(name) for name in SECTIONS}
    panels["Validation"].append(reports.MediaBrowser(title="receptive fields", media_keys=list(PICTURES["Validation"])))
    internals = panels.pop("Rule internals")
    panels |= {"Results": results_panels(), "Rule internals": internals}
    sections = [
        workspaces.Section(name=name, panels=one, is_open=name != "Rule internals") for name, one in panels.items()
    ]
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name=NAME,
        sections=sections,
        settings=workspaces.WorkspaceSettings(x_axis=X),
    )


def make_report(entity: str, project: str, group: str = "") -> reports.Report:
    """A report on the runs of ``project``, of ``group`` alone where one is named."""
    runs = reports.Runset(filters=f"Group == '{group}'" if group else "")
    blocks: list[Any] = [
        reports.P("How an update rule was meta-trained: does it still improve, on what, and how does it end?"),
    ]
    for name, text in (
        ("Training", "What the outer loop minimises, and the accuracy on its own tasks."),
        ("Validation", "Accuracy on data that the rule does not train on; the best θ so far is kept."),
        ("Outer loop", "Whether steps are clipped, tasks are lost, and what a step costs."),
    ):
        blocks += [reports.H2(name), reports.P(text), reports.PanelGrid(runsets=[runs], panels=line_charts(name))]
    blocks += [reports.H2("Results"), reports.PanelGrid(runsets=[runs], panels=results_panels())]
    title = f"{NAME}: {group or project}"
    return reports.Report(entity=entity, project=project, title=title, blocks=blocks)


def specification(entity: str, project: str, group: str = "") -> dict[str, Any]:
    """What is sent to wandb, as plain values: ``workspace`` and ``report``."""
    made: dict[str, Any] = {"workspace": make_workspace(entity, project), "report": make_report(entity, project, group)}
    return {name: one._to_model().model_dump(mode="json", by_alias=True) for name, one in made.items()}
