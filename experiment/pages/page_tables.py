"""Pieces of ``docs/results.md``: tables over places, and what they were made from."""

from collections.abc import Callable, Iterable

from evaluation.results_table import percent, short_source
from evaluation.statistics import Mean
from experiment.pages.markdown import table
from experiment.pages.stored_results import Place, StoredResults


def described(place: Place, varied: str = "") -> str:
    """What ``place`` is, but for what is ``varied``."""
    parts = {
        "ways": f"{place.ways} ways",
        "shots": f"{place.shots} labelled examples of each class",
        "outputs": f"{place.outputs} features",
        "size": f"images of {place.size} × {place.size} pixels",
        "permute": "inputs permuted anew in every task" if place.permute else "inputs in their order",
        "redraw": "" if place.redraw == "identity" else f"images redrawn by {place.redraw}",
        "readout": f"{place.readout} readout",
    }
    return ", ".join(text for name, text in parts.items() if text and name != varied)


def accuracy_table(stored: StoredResults, places: Iterable[Place], name: Callable[[Place], str]) -> str:
    """The accuracy of every method at ``places``, each a column with a ``name``; methods without any are left out."""
    places = list(places)
    rows = [[method, *(mean_cell(stored.mean(method, place)) for place in places)] for method in stored.methods]
    return table(["method", *(name(place) for place in places)], [row for row in rows if any(row[1:])])


def lead_table(
    stored: StoredResults,
    rule: str,
    places: Iterable[Place],
    name: Callable[[Place], str],
    beside: StoredResults | None = None,
) -> str:
    """How far ``rule`` leads each other method, or each of ``beside``, at ``places``; empty where nothing is paired."""
    places = list(places)
    rows = []
    for other in (beside or stored).methods:
        leads = [stored.lead(rule, other, place, beside) for place in places if beside or other != rule]
        if any(leads):
            rows.append([other, *("" if lead is None else percent(*lead.mean, "+") for lead in leads)])
    return table([f"{rule} is ahead of", *(name(place) for place in places)], rows) if rows else ""


def lines_by_source(
    stored: StoredResults, places: Iterable[Place], value: Callable[[Place], object]
) -> dict[str, dict[str, dict[object, Mean]]]:
    """By source and method the accuracies by ``value``, for ``line_figure``."""
    lines: dict[str, dict[str, dict[object, Mean]]] = {}
    for place in places:
        for method in stored.methods:
            mean = stored.mean(method, place) if (method, place) in stored.found else None
            if mean is not None:
                lines.setdefault(place_name(place), {}).setdefault(method, {})[value(place)] = mean
    return lines


def made_from(stored: StoredResults, places: Iterable[Place]) -> str:
    """Which files a table came from, how many tasks it is of, and how long the rules ran where that is not varied."""
    files, tasks = set(), set()
    places = list(places)
    for place in places:
        for method in stored.methods:
            by_seed = stored.found.get((method, place), {})
            files |= stored.files.get((method, place), set())
            tasks |= {sum(len(values) for values in by_seed.values())} - {0}
    rules = "".join(
        f"; `{rule}` after {' or '.join(uses)}"
        for rule in (*stored.rules, *stored.starts)
        if (uses := sorted({use for place in places for use in _uses(stored, rule, place)}))
    )
    networks = _networks(stored, files) if not any(place.sweep for place in places) else ""
    count = " or ".join(str(number) for number in sorted(tasks))
    return f"Over {count} tasks{rules}{networks}; from {', '.join(sorted(files))}."


def _networks(stored: StoredResults, files: Iterable[str]) -> str:
    """The base networks that ``files`` say were used."""
    metas = [meta for name in files if "hidden" in (meta := stored.meta[name])]
    shapes = sorted({f"{'-'.join(map(str, meta['hidden'])) or 'no'}, {meta['activation']}" for meta in metas})
    return f"; base networks with hidden layers of {' or '.join(shapes)}" if shapes else ""


def _uses(stored: StoredResults, rule: str, place: Place) -> set[str]:
    """How long ``rule`` ran at ``place``; empty where that is varied."""
    if place.sweep in ("steps", "batch"):
        return set()
    metas = [stored.meta[name] for name in stored.files.get((rule, place), ())]
    return {f"{meta['steps']} inner steps of {meta['batch']} examples" for meta in metas}


def place_name(place: Place) -> str:
    """Its source in short."""
    return short_source(place.source)


def mean_cell(mean: Mean | None) -> str:
    """A mean in percent, or an empty cell."""
    return "" if mean is None else percent(*mean)
