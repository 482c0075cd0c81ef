"""What a rule does, in one figure: accuracy against labels, and what units look for before and after."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from evaluation.paired_tasks import PairedTask
from evaluation.protocol import use_of
from evaluation.rules import pictures_of
from evaluation.statistics import Mean
from experiment.report.plots import INK, UNLIKE_COLOURS, draw_fields, figure_in_style, legend
from experiment.report.sweep_plot import draw_lines
from tasks.data.sources import load_source
from tasks.source import TaskSource
from update_rules.rule_file import read_rule

WAYS, QUERIES = 10, 10


def effect_figure(
    name: str, title: str, methods: Mapping[str, Mapping[Any, Mean]], rule: str, source: str, size: int, units: int
) -> Figure:
    """Accuracies against ``name``, and ``units`` first-layer receptive fields before and after on a task of ``source``.

    ``rule`` is that of pretrained/ or a file, used as its file says, on images of ``size`` x ``size`` pixels.
    """
    learned, header = read_rule(rule)
    tasks = TaskSource(tuple(load_source(source, size=size, seed=0)), WAYS, 1, QUERIES, permute=False)
    fields = pictures_of(learned, use_of(header, {}), PairedTask(tasks, 0, 0))
    if fields is None:
        raise ValueError(f"rule {rule} has no pictures on {source}, expected one whose units look at images")
    figure, axes = figure_in_style(3, 11.6, 3.4)
    draw_lines(axes[0], name, methods, UNLIKE_COLOURS)
    axes[0].set_title(title, fontsize=10, color=INK)
    legend(axes[0])
    for axis, when, images in zip(axes[1:], ("before", "after"), fields, strict=True):
        draw_fields(axis, f"what its units look for, {when}", images[:units].numpy())
    return figure
