"""Accuracy against what a sweep varies."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluation.results import Results
from evaluation.results_table import pooled, views_of
from evaluation.statistics import Mean, mean_over_tasks
from experiment.report.plots import ACCURACY, COLOURS, INK, OTHER_COLOURS, figure_in_style, legend, short_label

AXES = {"steps": "inner steps", "shots": "labels a class"}
"""What an axis is called where not by the name of the setting."""

Lines = Mapping[str, Mapping[str, Mapping[Any, Mean]]]
"""By source and method a line: accuracies by what is varied."""


def sweep_lines(results: Results) -> tuple[str, Lines]:
    """The name of what ``results`` vary, and a line a source and method, for the first of shots and readouts.

    A method that the setting leaves as it is has a single point, at None. Raises ValueError for results of no sweep.
    """
    names = sorted({name for found in results["per_task"] for name in found["setting"]})
    if len(names) != 1:
        raise ValueError(f"got results that vary {', '.join(names) or 'nothing'}, expected those of one sweep")
    lines: dict[str, dict[str, dict[Any, Mean]]] = {}
    first = views_of(results)[0]
    for seen in views_of(results):
        if seen[:2] == first[:2]:
            for (method, source), accuracies in pooled(results, seen).items():
                lines.setdefault(source, {}).setdefault(method, {})[seen.value] = mean_over_tasks(accuracies)
    return names[0], lines


def line_figure(name: str, lines: Lines, y: str = ACCURACY, palette: Sequence[str] = OTHER_COLOURS) -> Figure:
    """``y`` against ``name``: a panel a source, a line with 95 % intervals a method, dashed where it is constant."""
    figure, axes = figure_in_style(len(lines), 3.6 * len(lines) + 1.0, 3.2, y=y, sharey=True)
    for axis, (source, methods) in zip(axes, lines.items(), strict=True):
        draw_lines(axis, name, methods, palette)
        axis.set_title(short_label(source), fontsize=10, color=INK)
    legend(axes[-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def draw_lines(
    axis: Axes, name: str, methods: Mapping[str, Mapping[Any, Mean]], palette: Iterable[str] = OTHER_COLOURS
) -> None:
    """The accuracies of ``methods`` against ``name`` on ``axis``; those without a colour take the ``palette``'s."""
    values = list(dict.fromkeys(value for line in methods.values() for value in line if value is not None))
    numeric = all(isinstance(value, int | float) for value in values)
    places = dict(zip(values, values if numeric else range(len(values)), strict=True))
    others = iter(cycle(palette))
    for method, line in methods.items():
        colour = COLOURS.get(method) or next(others)
        if list(line) == [None]:
            axis.axhline(100 * line[None].value, color=colour, linestyle="--", linewidth=1, label=method)
            continue
        axis.errorbar(
            [places[value] for value in line],
            [100 * mean.value for mean in line.values()],
            [100 * mean.ci95 for mean in line.values()],
            color=colour,
            marker="o",
            markersize=3,
            capsize=2,
            label=method,
        )
    if name in ("width", "shots", "batch"):
        axis.set_xscale("log", base=2)
    if name == "steps":
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
        axis.set_xticks(list(places.values()), texts)
        axis.minorticks_off()
    axis.set_xlabel(AXES.get(name, name))
