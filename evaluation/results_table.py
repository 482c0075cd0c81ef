"""Results as tables of text: methods by sources, pooled over seeds."""

import math

from rich.table import Table
from rich.text import Text

from evaluation.results import Results, TaskAccuracies, View, leader, view
from evaluation.statistics import ORDER, PAIRS, RAND, joined_seeds, mean_for, paired_difference

SET_MEASURES = {
    RAND: "adjusted Rand index",
    ORDER: "adjusted Rand index between two orders of points",
    PAIRS: "share of pairs told right",
}
"""What is shown of whole sets, by readout."""


def percent(value: float, ci95: float, sign: str = "") -> str:
    """A share and its half-interval in percent, such as ``61.3 ± 0.9``; ``sign="+"`` shows the sign of both kinds.

    Without an interval, NaN, it is the share alone.
    """
    return f"{100 * value:{sign}.1f}" + ("" if math.isnan(ci95) else f" ± {100 * ci95:.1f}")


def short_source(name: str) -> str:
    """The name of the data SOURCE ``name`` without its scheme and folder."""
    scheme, colon, rest = name.partition(":")
    return rest.rpartition("/")[2] if colon else scheme


def methods_of(results: Results) -> list[str]:
    """The names of the methods, in their order."""
    return list(dict.fromkeys(found["method"] for found in results["per_task"]))


def sources_of(results: Results) -> list[str]:
    """The names of the sources, in their order."""
    return list(dict.fromkeys(found["source"] for found in results["per_task"]))


def views_of(results: Results) -> list[View]:
    """The views, in their order."""
    return list(dict.fromkeys(view(found) for found in results["per_task"]))


def pooled(results: Results, seen: View) -> dict[tuple[str, str], list[float]]:
    """By method and source the accuracies of all tasks of all seeds in one view."""
    by_place: dict[tuple[str, str], list[TaskAccuracies]] = {}
    for found in results["per_task"]:
        if view(found) == seen:
            by_place.setdefault((found["method"], found["source"]), []).append(found)
    return {
        place: joined_seeds(seen.readout, [one["accuracies"] for one in sorted(some, key=lambda one: one["seed"])])
        for place, some in by_place.items()
    }


def cells(results: Results, seen: View | None = None) -> dict[tuple[str, str], tuple[str, str]]:
    """By method and source in one view (the first): the accuracy and how far the leader leads; text in percent."""
    seen = seen or views_of(results)[0]
    found = pooled(results, seen)
    first, text = leader(results), {}
    for (method, source), accuracies in found.items():
        leads = None if first in (None, method) else found.get((str(first), source))
        lead = "" if leads is None else percent(*paired_difference(leads, accuracies, seen.readout), "+")
        text[method, source] = (percent(*mean_for(seen.readout, accuracies)), lead)
    return text


def caption(results: Results) -> str:
    """What the numbers in the table are, and a warning where networks diverged."""
    row = results["rows"][0]
    views = views_of(results)
    seeds = len({found["seed"] for found in results["per_task"]})
    who = {"rule": "the rule"}.get(first := leader(results) or "", first)
    lost = sum(count for methods in results["meta"]["diverged"].values() for count in methods.values())
    shots = f" {row['shots']}-shot" if len({seen.shots for seen in views}) == 1 else ""
    what = f"{row['ways']}-way{shots} accuracy in percent, mean ± 95 % interval over {seeds * row['tasks']} tasks"
    if row["readout"] in SET_MEASURES:
        what = f"{SET_MEASURES[row['readout']]} × 100, mean ± 95 % interval over sets"
    return (
        what
        + (f"; beside or below it, how far {who} leads on the same tasks" if who else "")
        + (f"; {lost} networks did not stay finite and count as guesses, see diverged in the results" if lost else "")
    )


def results_table(results: Results) -> Table:
    """A table to print: rows = methods, and views where there are several; columns = sources."""
    sources, views, first = sources_of(results), views_of(results), leader(results)
    table = Table(caption=Text(caption(results), style="table.caption"), caption_justify="left")
    table.add_column("method", no_wrap=True)
    shown = [name for name in ("shots", "readout", "setting") if len({getattr(seen, name) for seen in views}) > 1]
    for name in shown:
        table.add_column(name, no_wrap=True)
    for source in sources:
        table.add_column(Text(source), justify="right")  # as it is: brackets would be markup
        if first:
            table.add_column(Text(f"{first} leads"), justify="right", style="dim")
    for seen in views:
        text = cells(results, seen)
        for method in methods_of(results):
            parts = [part for s in sources for part in text.get((method, s), ("", ""))[: 2 if first else 1]]
            if any(parts):
                table.add_row(Text(method), *(str(getattr(seen, name)) for name in shown), *parts)
    return table
