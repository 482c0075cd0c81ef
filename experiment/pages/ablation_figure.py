"""A figure of what changed when one thing in a rule or in its training was changed."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from evaluation.results_table import short_source
from experiment.report.plots import INK, figure_in_style, legend

ROW_INCHES = 0.24
MARKERS = "osD^"
SOURCE_COLOURS = ("#2f86c8", "#e69f00", "#333333", "#009e73")


def ablation_figure(runs: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The change of accuracy in points with its 95 % interval: a row a run, a mark a source. None if none was stored.

    ``runs`` are those of one study, as ``read_stored`` keeps them; the first, which the others are compared with, is
    left out.
    """
    changed = [one for one in runs[1:] if one.get("change")]
    if not changed:
        return None
    sources = list(dict.fromkeys(source for one in changed for source in one["change"]))
    figure, (axis,) = figure_in_style(1, 6.4, 1.2 + ROW_INCHES * len(changed))
    for number, source in enumerate(sources):
        rows = [place for place, one in enumerate(changed) if source in one["change"]]
        found = [changed[place]["change"][source] for place in rows]
        axis.errorbar(
            [100 * value for value, _ in found],
            [place + 0.5 * (number / len(sources) - 0.4) for place in rows],
            xerr=[100 * ci95 for _, ci95 in found],
            fmt=MARKERS[number % len(MARKERS)],
            color=SOURCE_COLOURS[number % len(SOURCE_COLOURS)],
            markersize=3.5,
            elinewidth=1,
            label=short_source(source),
        )
    axis.axvline(0, color=INK, linewidth=0.8)
    axis.set_yticks(range(len(changed)), [one["name"].partition(", ")[2] or one["name"] for one in changed])
    axis.invert_yaxis()
    axis.set_xlabel("change of accuracy, points")
    legend(axis, loc="best")
    return figure
