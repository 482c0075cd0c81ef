"""The figure of a gradient report: what directions are worth by where in a trajectory they were taken."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiment.gradient_signal import Quality
from experiment.report.plots import COLOURS, OTHER_COLOURS, figure_in_style, legend


def signal_by_place(found: Mapping[str, Sequence[Quality]], piece: int) -> Figure:
    """Signal to noise, and cosine with the gradient through the whole trajectory, against inner steps."""
    figure, axes = figure_in_style(2, 8.0, 3.0, "inner steps")
    colours = [colour for name, colour in COLOURS.items() if name != "rule"]
    for number, (name, places) in enumerate(found.items()):
        steps = [piece * (place + 1) for place in range(len(places))]
        colour = [*OTHER_COLOURS[:1], *colours][number % (1 + len(colours))]
        axes[0].plot(steps, [one.signal_to_noise for one in places], "o-", color=colour, markersize=3, label=name)
        axes[1].plot(steps, [one.cosine for one in places], "o-", color=colour, markersize=3)
    axes[0].set_ylabel("signal to noise of an outer step")
    axes[1].set_ylabel("cosine with the whole gradient")
    legend(axes[0])
    return figure
