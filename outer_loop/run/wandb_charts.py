"""The charts of a run in wandb: what each metric is called there, so that its first screen shows what matters.

wandb puts charts of one prefix in a section and orders sections by the alphabet: training, validation, outer loop,
report. What a rule says of itself is kept but hidden; ``scripts/make_dashboard.py`` shows it last.
"""

import re
from collections.abc import Iterator, Mapping

from outer_loop.run.metric_names import BEST, CHOSEN_BY, FAR, TRAINING, AccuracyName, accuracy_name

PROJECT = "unsupervised-update-rules"
"""Where runs are kept, unless somebody says otherwise."""

NAMES = {
    "meta_loss": "meta_train/meta_loss",
    "accuracy": "meta_train/accuracy",
    CHOSEN_BY: "meta_validation/accuracy",
    BEST: "meta_validation/best_accuracy",
    "gradient_norm": "outer_loop/gradient_norm",
    "clipped_share": "outer_loop/clipped_share",
    "learning_rate": "outer_loop/learning_rate",
    "inner_steps": "outer_loop/inner_steps",
    "dropped_tasks_total": "outer_loop/dropped_tasks",
    "timing/outer_step_s": "outer_loop/step_seconds",
    "throughput/inner_steps_x_tasks_per_s": "outer_loop/inner_steps_x_tasks_per_s",
    "memory/rss_mb": "outer_loop/memory_mb",
}
"""What metrics are called in wandb; ``dropped_tasks`` is the slope of its total, and has no chart."""

SECTIONS = {TRAINING: "meta_train/validated_", FAR: "meta_validation/far_"}
"""Where accuracies on sources of a kind are shown, if not among those of validation."""

RULE, RULE_CHARTS = "rule/", "rule_internals/"
LINES = 6
"""Lines in a chart of accuracy by inner step: the first validation, and the latest."""


def plain(name: str) -> str:
    """``name`` in letters, digits and underscores, as wandb wants the names of metrics to be."""
    return re.sub(r"\W+", "_", name).strip("_")


def charts(metrics: Mapping[str, float]) -> dict[str, float]:
    """The values of the charts of one outer step: of accuracies by inner step, the last alone."""
    shown = {NAMES[name]: value for name, value in metrics.items() if name in NAMES}
    shown |= {
        RULE_CHARTS + plain(name.removeprefix(RULE)): value for name, value in metrics.items() if name.startswith(RULE)
    }
    return shown | {chart: curve[max(curve)] for chart, _, curve in curves(metrics)}


def curves(metrics: Mapping[str, float]) -> Iterator[tuple[str, str, dict[int, float]]]:
    """For each source that was validated: its chart, what it is called, and accuracy by inner step."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for key, value in metrics.items():
        name: AccuracyName | None = accuracy_name(key)
        if name is not None:
            found.setdefault((name.kind, name.source), {})[name.step] = value
    for (kind, source), curve in found.items():
        yield SECTIONS.get(kind, "meta_validation/") + plain(source), source, curve
