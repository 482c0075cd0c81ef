"""The figures of an evaluation and of a run. Nothing here opens a window or touches matplotlib's global state."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from common.atomic_file import atomic_write
from evaluation.results import Results
from evaluation.results_table import methods_of, pooled, sources_of, views_of
from evaluation.statistics import mean_over_tasks
from experiment.report.montage import montage
from outer_loop.run.metric_names import FAR, VALIDATION, judged_names

INK = "#777777"
"""Text and axes: a grey that can be read on white and on black."""

COLOURS = {
    "rule": "#2f86c8",
    "untrained_rule": "#e69f00",
    "random_network": "#999999",
    "raw": "#009e73",
    "pca": "#cc79a7",
    "pca_whitened": "#7f3c8d",
    "kmeans": "#b8a100",
    "kmeans_512": "#8a7800",
    "landmarks": "#4e7a1f",
    "discriminants": "#a6d854",
    "autoencoder": "#d55e00",
    "vae": "#8c564b",
    "contrastive": "#17becf",
    "supervised": "#333333",
    "raw_nearest": "#009e73",
    "raw_logistic": "#cc79a7",
    "raw_prototype": "#b8a100",
}
"""The colour of each method, everywhere; they differ for colour-blind eyes too."""

OTHER_COLOURS = ("#2f86c8", "#56b4e9", "#004c99", "#7aa6c2")
"""For rules and embeddings under names of their own, in turn."""

UNLIKE_COLOURS = tuple(COLOURS[method] for method in ("rule", "untrained_rule", "landmarks", "raw", "supervised"))
"""For lines that go by other names, in turn, as unlike as colours here are."""

LABEL_LENGTH = 22
"""Characters of a source's name that a figure has room for."""

LETTER, HANDLE = 0.063, 0.5
"""Inches that a letter of a legend takes, and what stands beside a name in it."""

ACCURACY = "accuracy, %"
"""What an axis of accuracies is called."""

LEAST_POINTS = 10.0
"""Percent that an axis of accuracies spans at the least, so that noise does not look like a difference."""

Metrics = Sequence[Mapping[str, Any]]
"""The lines of a run's metrics file, each with its ``outer_step``."""


def accuracy_points(results: Results) -> Figure:
    """Accuracy of every method by source, with 95 % intervals, in the first view of ``results``.

    Points and not bars, so that the axis may begin where the accuracies do and shows how they differ.
    """
    sources, methods, found = sources_of(results), methods_of(results), pooled(results, views_of(results)[0])
    breadth = max(5.0, 1.5 + 0.36 * len(methods) * len(sources))
    figure, axes = figure_in_style(1, breadth, 3.2)
    width, ends = 0.8 / len(methods), []
    for place, method in enumerate(methods):
        there = [number for number, source in enumerate(sources) if (method, source) in found]
        means = [mean_over_tasks(found[method, sources[number]]) for number in there]
        ends += [100 * (mean.value + sign * mean.ci95) for mean in means for sign in (-1, 1)]
        axes[0].errorbar(
            np.array(there) + (place - (len(methods) - 1) / 2) * width,
            [100 * mean.value for mean in means],
            yerr=[100 * mean.ci95 for mean in means],
            fmt="o",
            color=COLOURS.get(method, OTHER_COLOURS[place % len(OTHER_COLOURS)]),
            capsize=3,
            label=method,
        )
    axes[0].set_xticks(range(len(sources)), [short_label(source) for source in sources])
    axes[0].set_xlim(-0.5, len(sources) - 0.5)
    axes[0].set_ylim(*accuracy_range(ends))
    axes[0].grid(axis="y", color=INK, alpha=0.2)
    legend(axes[0], ncols=legend_columns(methods, breadth), loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def accuracy_range(values: Sequence[float]) -> tuple[float, float]:
    """The part of 0 to 100 % that shows how ``values`` differ: theirs with some room, ten points at the least."""
    low, high = min(values), max(values)
    room = max(1.0, 0.1 * (high - low), (LEAST_POINTS - (high - low)) / 2)
    low, high = max(0.0, low - room), min(100.0, high + room)
    return min(low, max(0.0, high - LEAST_POINTS)), max(high, min(100.0, low + LEAST_POINTS))


def legend_columns(names: Sequence[str], inches: float) -> int:
    """The most columns, up to 6, in which ``names`` fit beside each other, filled one after the other; at least 1."""
    for columns in range(min(6, len(names)), 1, -1):
        widest = [max(map(len, column)) for column in np.array_split(np.array(names, dtype=object), columns)]
        if sum(LETTER * length + HANDLE for length in widest) <= inches:
            return columns
    return 1


def meta_loss_curve(metrics: Metrics) -> Figure:
    """The meta-loss of every outer step, and its running mean over a twentieth of the run."""
    steps = np.array([line["outer_step"] for line in metrics])
    loss = np.array([np.nan if line.get("meta_loss") is None else line["meta_loss"] for line in metrics])
    figure, axes = figure_in_style(1, 5.2, 3.0, "outer steps", "meta-loss")
    axes[0].plot(steps, loss, color=COLOURS["rule"], alpha=0.35, linewidth=0.8, label="each outer step")
    window = max(1, len(steps) // 20)
    recent = [loss[max(0, end - window) : end] for end in range(1, len(loss) + 1)]
    means = [part[np.isfinite(part)].mean() if np.isfinite(part).any() else np.nan for part in recent]
    axes[0].plot(steps, means, color=COLOURS["rule"], label=f"mean of {window}")
    legend(axes[0])
    return figure


def validation_curves(metrics: Metrics) -> Figure | None:
    """Accuracy on validation sources over outer steps, after all inner steps and before the first, or None.

    That on far sources, by which nothing is chosen, is dashed: where it falls, a rule fits its own domain alone.
    """
    names = {name for line in metrics for name in judged_names(line, VALIDATION, FAR)}
    if not names:
        return None
    figure, axes = figure_in_style(1, 5.2, 3.0, "outer steps")
    colours = list(COLOURS.values())
    for place, (far, source) in enumerate(sorted({(name.kind == FAR, name.source) for name in names})):
        points = [name for name in names if (name.kind == FAR, name.source) == (far, source)]
        points.sort(key=lambda name: name.step)
        for point, style in ((points[-1], "--" if far else "-"), *([] if far else [(points[0], ":")])):
            key = str(point)
            lines = [line for line in metrics if line.get(key) is not None]
            axes[0].plot(
                [line["outer_step"] for line in lines],
                [100 * line[key] for line in lines],
                style,
                marker="o" if len(lines) == 1 else None,
                color=colours[place % len(colours)],
                label=f"{short_label(source)} after {point.step} inner steps{', far' * far}",
            )
    legend(axes[0])
    return figure


def receptive_field_pair(before: NDArray[np.float32], after: NDArray[np.float32]) -> Figure:
    """First-layer weights [N, H, W] of a base network before and after the rule trained it, as grey pictures."""
    figure, axes = figure_in_style(2, 7.6, 3.9, y="")
    for axis, title, fields in zip(axes, ("before", "after"), (before, after), strict=True):
        draw_fields(axis, title, fields)
    return figure


def draw_fields(axis: Axes, title: str, fields: NDArray[np.float32]) -> None:
    """Weights [N, H, W] as grey pictures on ``axis``."""
    axis.imshow(montage(fields), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axis.set_title(title, fontsize=10, color=INK)
    axis.set_axis_off()


def svg(figure: Figure) -> bytes:
    """``figure`` as SVG with a clear background, text drawn as shapes; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "figure"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def save_png(figure: Figure, path: str | Path) -> None:
    """Write ``figure`` to ``path`` as PNG on white: whole or not at all. Raises OSError where that fails."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=150)


def figure_in_style(
    panels: int, width: float, height: float, x: str = "", y: str = ACCURACY, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure in inches with a row of panels in our style, ``x`` below each and ``y`` beside the first."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False, sharey=sharey)[0])
    axes[0].set_ylabel(y)
    for axis in axes:
        axis.set_xlabel(x)
        axis.tick_params(colors=INK, labelsize=9)
        axis.xaxis.label.set_color(INK)
        axis.yaxis.label.set_color(INK)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
    return figure, axes


def legend(axis: Axes, **place: Any) -> None:
    """A legend in our style."""
    axis.legend(frameon=False, fontsize=8, labelcolor=INK, **place)


def short_label(text: str) -> str:
    """``text`` as a label: its end where it is long, and without the dollar signs' power to start a formula."""
    short = text if len(text) <= LABEL_LENGTH else "…" + text[1 - LABEL_LENGTH :]
    return short.replace("$", r"\$")
