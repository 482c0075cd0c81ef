"""``docs/results.md``: what stored results say, section by section; a section without data is left out."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from common.atomic_file import atomic_write
from evaluation.baselines.stacked_training import EXAMPLES
from evaluation.methods import MEANING
from evaluation.paired_tasks import UNLABELLED_EXAMPLES
from evaluation.receptive_fields import Fields
from evaluation.results import hardware, short_commit
from evaluation.results_table import percent
from evaluation.sweeps import SWEEPS
from experiment.pages.markdown import table
from experiment.pages.page_tables import (
    accuracy_table,
    described,
    lead_table,
    lines_by_source,
    made_from,
    mean_cell,
    place_name,
)
from experiment.pages.results_studies import ablations, compute
from experiment.pages.stored_results import Place, StoredResults
from experiment.report.plots import receptive_field_pair, save_png
from experiment.report.sweep_plot import line_figure
from update_rules.local.hebbian import Hebbian

WAYS, SHOTS, READOUT = 10, 10, "ridge"
"""The main table's."""

SWEPT = {
    "width": "width of the hidden layers, as a factor",
    "depth": "layers with weights",
    "activation": "activation",
    "permute": "inputs permuted anew in every task",
    "steps": "inner steps",
    "batch": "examples in an inner step",
    "size": "pixels of a side",
}
"""What each sweep varies, in words."""


def write_page(
    page: Path,
    stored: StoredResults,
    *,
    title: str,
    command: str,
    equations: Mapping[str, Hebbian],
    fields: Mapping[str, Fields],
    beside: StoredResults | None = None,
) -> None:
    """Write ``page``, and its figures to the folder beside it that has its name.

    ``title`` heads it, ``command`` is what made it, ``equations`` are hebbian rules by name and ``fields`` first-layer
    weights by rule, ``beside`` results with other base networks. Raises OSError where they cannot be written, and
    ValueError for results beside that are on other tasks.
    """
    folder = page.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    sections = [
        _main(stored),
        _other_ways(stored),
        _shots(stored, folder),
        _beside(stored, beside) if beside else "",
        _readouts(stored),
        *(_sweep(stored, name, folder) for name in SWEEPS),
        _fields(fields, folder),
        _losses(stored),
        _equations(equations),
        ablations(stored.ablations, folder),
        compute(stored.trainings, folder),
        _made(stored),
    ]
    text = f"# {title}\n\nWritten by `{command}` from stored JSON files; do not edit.\n\n"
    text += (
        "Accuracy in percent on few-shot tasks, mean ± 95 % interval over all tasks of all seeds; seeds draw tasks and "
        "first weights, a rule is from one training. Every method gets the same tasks and readout and gives as many "
        "features, but for raw inputs and PCA of fewer inputs. Differences are taken task by task. What is learned "
        "without labels is learned from examples of the task's classes, those to be told among them: rules draw from "
        f"all, trained networks from {EXAMPLES:,} at most, PCA and statistics of batch normalisation from "
        f"{UNLABELLED_EXAMPLES:,}, k-means from as many as suited it where it was tuned. `NAME, untrained` is the rule "
        "before meta-training" + _and_starts(stored) + ".\n\n"
    )
    with atomic_write(page) as file:
        file.write((text + "\n\n".join(section for section in sections if section) + "\n").encode())


def _and_starts(stored: StoredResults) -> str:
    names = ", ".join(f"`{name}`" for name in stored.starts)
    return f", and so is {names}, whose file tells of none" if names else ""


def _main(stored: StoredResults) -> str:
    places = _main_places(stored)
    if not places:
        return ""
    return "\n\n".join(
        [
            f"## Few-shot accuracy\n\n{described(places[0])}. Methods: "
            + "; ".join(f"`{name}`, {MEANING[name]}" for name in stored.methods if name in MEANING)
            + ".",
            accuracy_table(stored, places, place_name),
            *(lead_table(stored, rule, places, place_name) for rule in stored.rules),
            made_from(stored, places),
        ]
    )


def _other_ways(stored: StoredResults) -> str:
    places = [p for p in stored.places() if p.ways != WAYS and p.readout == READOUT]
    if not places:
        return ""

    def name(place: Place) -> str:
        return f"{place_name(place)}, {place.ways} ways, {place.shots} shots"

    return "\n\n".join(
        [
            f"## Text and tables\n\nShots: labelled examples of each class. {READOUT.capitalize()} readout.",
            accuracy_table(stored, places, name),
            *(lead_table(stored, rule, places, name) for rule in stored.rules),
            made_from(stored, places),
        ]
    )


def _shots(stored: StoredResults, folder: Path) -> str:
    by_shots = _by_shots(stored)
    if len({place.shots for place in by_shots}) < 2:
        return ""
    lines = lines_by_source(stored, by_shots, lambda place: place.shots)
    save_png(line_figure("shots", lines), folder / "shots.png")
    return "\n\n".join(
        [
            "## Against labels\n\nLabelled examples of each class.",
            f"![accuracy against labelled examples]({folder.name}/shots.png)",
            accuracy_table(stored, by_shots, _with_shots),
            *(lead_table(stored, rule, by_shots, _with_shots) for rule in stored.rules),
            made_from(stored, by_shots),
        ]
    )


def _beside(stored: StoredResults, beside: StoredResults) -> str:
    places = _by_shots(stored)
    tables = [lead_table(stored, rule, places, _with_shots, beside) for rule in stored.rules]
    if not any(tables):
        return ""
    head = "## Against other networks\n\nOn the same tasks; in the columns, labelled examples of each class."
    return "\n\n".join([head, *(text for text in tables if text), made_from(beside, places)])


def _readouts(stored: StoredResults) -> str:
    main = _main_places(stored)
    places = [p for m in main for p in _alike(stored, m._replace(readout=""), "readout")]
    if len({place.readout for place in places}) < 2:
        return ""
    return "\n\n".join(
        [
            f"## Other readouts\n\n{SHOTS} labelled examples of each class.",
            accuracy_table(stored, places, lambda place: f"{place_name(place)}, {place.readout}"),
            made_from(stored, places),
        ]
    )


def _sweep(stored: StoredResults, name: str, folder: Path) -> str:
    places = stored.places(name)
    if not places:
        return ""
    first = places[0]
    lines = lines_by_source(
        stored,
        [place for place in places if (place.shots, place.readout) == (first.shots, first.readout)],
        lambda place: place.value,
    )
    save_png(line_figure(name, lines), folder / f"{name}.png")
    rows = []
    for rule in stored.rules:
        for other in ("random_network", "pca", "raw"):
            for place in places:
                lead = stored.lead(rule, other, place) if place.value is not None else None
                if lead is not None:
                    value = f"{place.value:g}" if isinstance(place.value, float) else str(place.value)
                    rows.append([rule, other, place_name(place), value, percent(*lead.mean, "+")])
    return "\n\n".join(
        [
            f"## {name.capitalize()}\n\nVaried: {SWEPT[name]}. {described(first, name)}.",
            f"![accuracy against {SWEPT[name]}]({folder.name}/{name}.png)",
            table(["rule", "ahead of", "data", name, "by"], rows) if rows else _swept(stored, places),
            made_from(stored, places),
        ]
    )


def _swept(stored: StoredResults, places: Sequence[Place]) -> str:
    """What a sweep without company found: a row a method and value."""
    rows = [
        [method, place_name(place), str(place.value), mean_cell(stored.mean(method, place))]
        for place in places
        for method in stored.methods
        if (method, place) in stored.found
    ]
    return table(["method", "data", places[0].sweep, "accuracy"], rows)


def _fields(fields: Mapping[str, Fields], folder: Path) -> str:
    parts = []
    for rule, (before, after) in fields.items():
        save_png(receptive_field_pair(before, after), folder / f"fields_{rule}.png")
        parts.append(f"`{rule}`:\n\n![first-layer weights before and after]({folder.name}/fields_{rule}.png)")
    head = "## Receptive fields\n\nFirst-layer weights as they are seen, before and after the rule; grey is 0."
    return "\n\n".join([head, *parts]) if parts else ""


def _losses(stored: StoredResults) -> str:
    leads = stored.leads()
    if not leads:
        return ""
    lost = sorted((lead for lead in leads if lead.mean.value < 0), key=lambda lead: lead.mean.value)
    text = f"## Where the rules lose\n\n{len(lost)} of {len(leads)} comparisons are below 0"
    if not lost:
        return text + "."
    rows = [
        [
            lead.method,
            lead.other,
            place_name(lead.place),
            f"{lead.place.ways}-way {lead.place.shots}-shot {lead.place.readout}",
            f"{lead.place.sweep} {lead.place.value}" if lead.place.sweep else "",
            percent(*lead.mean, "+"),
        ]
        for lead in lost
    ]
    return f"{text}, worst first:\n\n" + table(["rule", "behind", "data", "tasks", "setting", "by"], rows)


def _equations(equations: Mapping[str, Hebbian]) -> str:
    head = (
        "## What the hebbian rule learned\n\nEvery term with its coefficient, largest first. A term of Δw has columns "
        "of rms 1 at most before it is multiplied, so its coefficients compare; those of Δb are not bounded. The "
        "notation is that of `update_rules/local/hebbian.py`. In the tables: the coefficient in the first and in the "
        "last layer, and what the term does where it is above 0; below 0 it does the opposite."
    )
    parts = [f"`{name}`:\n\n```\n{rule.equation()}\n```\n\n{_terms(rule)}" for name, rule in equations.items()]
    return "\n\n".join([head, *parts]) if parts else ""


def _terms(rule: Hebbian) -> str:
    rows = [[name, f"{first:+.2f}", f"{last:+.2f}", says] for name, first, last, says in rule.sizes()]
    return table(["term", "first layer", "last layer", "what it does"], rows)


def _made(stored: StoredResults) -> str:
    if not stored.meta:
        return ""
    rows = [
        [
            name,
            f"`{meta.get('command', '')}`",
            short_commit(meta),
            ", ".join(str(seed) for seed in meta.get("seeds", [])),
            hardware(meta),
            f"{meta['seconds']:.0f}",
        ]
        for name, meta in sorted(stored.meta.items())
    ]
    return "## How it was made\n\n" + table(["file", "command", "commit", "seeds", "hardware", "seconds"], rows)


def _main_places(stored: StoredResults) -> list[Place]:
    return [p for p in stored.places() if (p.ways, p.shots, p.readout) == (WAYS, SHOTS, READOUT)]


def _by_shots(stored: StoredResults) -> list[Place]:
    """The main places and those like them with other shots."""
    return [p for m in _main_places(stored) for p in _alike(stored, m._replace(shots=0), "shots")]


def _with_shots(place: Place) -> str:
    return f"{place_name(place)}, {place.shots}"


def _alike(stored: StoredResults, place: Place, name: str) -> list[Place]:
    """The places that are ``place`` but for the field ``name``, sorted by it: few shots first."""
    return sorted(p for p in stored.places() if p._replace(**{name: getattr(place, name)}) == place)
