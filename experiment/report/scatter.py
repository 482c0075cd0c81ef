"""A picture of clusters: the rows of a table by their two principal components."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

SHOWN = 20
"""Colours that differ."""


def components_figure(x: NDArray[np.float64], labels: NDArray[np.int64]) -> Figure:
    """The rows of ``x`` [N, D] along the two directions in which they vary most, coloured by ``labels`` [N]."""
    centred = x - x.mean(0)
    _, scales, directions = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(x), 2))
    found = (centred @ directions[:2].T)[:, : len(scales)]
    places[:, : found.shape[1]] = found
    shares = scales**2 / max(float((scales**2).sum()), 1e-12)
    figure = Figure(figsize=(6, 5), layout="constrained")
    axes = figure.subplots()
    axes.scatter(places[:, 0], places[:, 1], c=labels % SHOWN, cmap="tab20", vmin=0, vmax=SHOWN - 1, s=12, linewidths=0)
    for place, name in enumerate(("x", "y")):
        share = f" ({shares[place]:.0%} of the variance)" if place < len(shares) else ""
        getattr(axes, f"set_{name}label")(f"component {place + 1}{share}")
    axes.set_title(f"{len(np.unique(labels))} clusters of {len(x)} rows")
    return figure
