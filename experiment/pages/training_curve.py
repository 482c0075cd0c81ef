"""What a run's held-out accuracy was after so many outer steps and seconds, as docs keep it."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from evaluation.results import processor
from experiment.report.plots import INK, OTHER_COLOURS, figure_in_style, legend
from experiment.report.report import read_metrics
from outer_loop.config.file import made_by
from outer_loop.run.metric_names import held_out_names
from update_rules.rule_file import read_header

CURVE = ("name", "command", "commit", "processor", "inner_steps", "outer_steps", "seconds", "heldout")
"""What a stored curve holds."""


def training_curve(run_dir: str | Path) -> dict[str, Any]:
    """The accuracy on each held-out source at every evaluation of the run in ``run_dir``, and what made it.

    Keys, those of CURVE: ``name``, ``command``, ``commit`` (empty before there is a rule file), ``processor``,
    ``inner_steps``, ``outer_steps`` [E], ``seconds`` [E] spent in outer steps until then, ``heldout``, a list [E] for
    each source.
    Raises OSError for a folder that is no run, and ValueError for a run without an evaluation.
    """
    run_dir = Path(run_dir)
    metrics = [line for line in read_metrics(run_dir / "metrics.jsonl") if held_out_names(line)]
    if not metrics:
        raise ValueError(f"{run_dir}: no evaluation on held-out sources yet, expected a run with one")
    spent = {line["outer_step"]: line["timing/outer_step_s"] for line in read_metrics(run_dir / "timing.jsonl")}
    names = held_out_names(metrics[0])
    steps = max(name.step for name in names)
    rule = run_dir / "rule.safetensors"
    return {
        "name": run_dir.resolve().name,
        "command": "; ".join(made_by(run_dir / "config.yaml")),
        "commit": read_header(rule).provenance.get("commit", "") if rule.exists() else "",
        "processor": processor(),
        "inner_steps": steps,
        "outer_steps": [line["outer_step"] for line in metrics],
        "seconds": [
            round(math.fsum(s for step, s in spent.items() if step <= line["outer_step"]), 1) for line in metrics
        ],
        "heldout": {name.source: [line[str(name)] for line in metrics] for name in names if name.step == steps},
    }


def mean_held_out(curve: Mapping[str, Any]) -> list[float]:
    """The mean over the held-out sources at every evaluation, by which a run keeps its best rule."""
    return [sum(values) / len(values) for values in zip(*curve["heldout"].values(), strict=True)]


def best(curve: Mapping[str, Any]) -> int:
    """The place of the evaluation whose rule the run keeps: the best, the first where several are."""
    means = mean_held_out(curve)
    return means.index(max(means))


def compute_figure(curves: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean held-out accuracy against outer steps and against minutes, a line a run."""
    figure, axes = figure_in_style(2, 8.2, 3.2, sharey=True)
    markers = cycle("osv^D")
    for place, curve in enumerate(curves):
        accuracy = [100 * value for value in mean_held_out(curve)]
        colour = OTHER_COLOURS[place % len(OTHER_COLOURS)]
        style: dict[str, Any] = {"color": colour, "marker": next(markers), "markersize": 4}
        axes[0].plot(curve["outer_steps"], accuracy, label=curve["name"], **style)
        axes[1].plot([s / 60 for s in curve["seconds"]], accuracy, **style)
    axes[0].set_xlabel("outer steps", color=INK)
    axes[1].set_xlabel("minutes", color=INK)
    axes[0].set_ylabel("held-out accuracy, %")
    legend(axes[0])
    return figure
