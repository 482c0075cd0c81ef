"""The pages of results: one Markdown page a study, whose YAML file says what is asked of the store."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from common.yaml_dialect import parse_yaml
from evaluation.results import short_commit
from evaluation.statistics import Mean
from experiment.report.claims import Claim, command_form, in_percent, number, told
from experiment.report.effect import effect_figure
from experiment.report.places import Answer
from experiment.report.plots import ACCURACY, OTHER_COLOURS, UNLIKE_COLOURS
from experiment.report.store import is_lead, read
from experiment.report.sweep_plot import Lines, line_figure
from update_rules.rule_file import load_rule

Ask = Callable[[Mapping[str, Any]], Answer | None]
Draw = Callable[[], Figure]

NOTE = (
    "Written by `make pages` from the files in `results/` that the last table names; do not edit. A command is as it "
    "was at the commit beside it."
)

FEW = 3
"""Commits that a row of the last table names."""


def render(file: Path, root: Path, claims: Mapping[str, Claim]) -> tuple[str, dict[str, Draw]]:
    """The page of the study in ``file``, and what draws its figures, by name; results files lie under ``root``.

    A study has ``title``, ``lead``, ``files``, ``of`` (what all its questions have in common) and ``sections``, each
    with ``heading``, ``text`` and what it shows: ``rows`` and ``columns`` of questions, a ``figure``, ``claims`` by
    id, a ``table`` as it is, the ``equation`` of a rule. Columns ``beside`` answers are as they are. What answers are
    over is ``counted``, tasks if nobody says, and told once where it is the same for all tables. In texts {id} is the
    value of a claim. Raises ValueError for a row, column or named point without any answer, and as ``read`` and
    ``Store.ask`` do.
    """
    study = parse_yaml(file.read_text(encoding="utf-8"), str(file))
    values = {name: claim["value"] + math.copysign(1e-9, claim["value"]) for name, claim in claims.items()}
    parts, counts = [f"# {study['title']}", NOTE, study["lead"].strip().format_map(values)], dict[int, str]()
    figures: dict[str, Draw] = {}
    made: dict[str, tuple[str, str]] = {}
    for section in study["sections"]:
        common = {**study.get("of", {}), **section.get("of", {})}
        store = read(root, section.get("files", study.get("files", [])))

        def ask(of: Mapping[str, Any], store: Any = store, common: Any = common) -> Answer | None:
            answer: Answer | None = store.ask({**common, **of})
            made.update({name: store.made[name] for name in answer.files} if answer else {})
            return answer

        parts += [f"## {section['heading']}", section.get("text", "").strip().format_map(values)]
        if "figure" in section:
            figure = section["figure"]
            figures[figure["name"]] = partial(_draw, figure, _lines(figure, ask))
            parts.append(f"![{section['heading']}]({figure['name']})")
        if "columns" in section:
            table, count = _answers(section, common, ask)
            counts |= {len(parts) + 1: count} if count else {}
            parts += [table, f"{count}." if count else ""]
        if "table" in section:
            parts.append(markdown_table(section["table"][0], section["table"][1:]))
        for name in section.get("claims", []):
            made.update(read(root, claims[name]["files"]).made)
        parts.append("\n".join(f"- {told(claims[name])}" for name in section.get("claims", [])))
        if "equation" in section:
            parts.append(f"```\n{load_rule(section['equation']).equation()}\n```")
    if len(counts) > 1 and len(set(counts.values())) == 1:
        first, *others = counts
        parts[first] = f"{counts[first]}, here and below."
        parts = [part for place, part in enumerate(parts) if place not in others]
    parts += ["## How it was made", _made(made)] if made else []
    return "\n\n".join(part for part in parts if part) + "\n", figures


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: bars in cells are escaped, columns of numbers and blanks are aligned to the right."""
    columns = zip(*rows, strict=True)
    rules = ["---" if any(re.search("^[^-+0-9]|[a-z]", cell) for cell in column) else "---:" for column in columns]
    lines = [head, rules, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _draw(figure: Mapping[str, Any], lines: Lines) -> Figure:
    """``lines``, and beside the only panel the receptive fields of a rule where the ``figure`` asks for them."""
    if "fields" not in figure:
        palette = UNLIKE_COLOURS if "points" in figure else OTHER_COLOURS  # rows are then no methods
        return line_figure(figure.get("along", ""), lines, figure.get("axis", ACCURACY), palette)
    ((panel, methods),) = lines.items()
    return effect_figure(figure["along"], panel, methods, **figure["fields"])


def _answers(section: Mapping[str, Any], common: Mapping[str, Any], ask: Ask) -> tuple[str, str]:
    """A row of questions against each column of them, and of how many tasks the answers are, if of any."""
    rows, columns, tasks = [], section["columns"], set()
    for label, row in section["rows"].items():
        of = {section.get("each", "method"): row} if isinstance(row, str) else row
        rows.append([label])
        for column in columns.values():
            answer = ask({**of, **column})
            rows[-1].append(_cell(answer, "+" if is_lead({**common, **of, **column}) else "") if answer else "")
            tasks |= {answer.tasks} - {0} if answer else set()
    across = [[name, *cells] for name, *cells in zip(columns, *(row[1:] for row in rows), strict=True)]
    if blank := [line[0] for line in [*rows, *across] if not any(line[1:])]:
        raise ValueError(f"section {section['heading']}: nothing is stored for {', '.join(blank)}")
    beside: Mapping[str, Mapping[str, str]] = section.get("beside", {})
    for name, told_of in beside.items():
        if unknown := told_of.keys() - section["rows"].keys():
            raise ValueError(f"section {section['heading']}: {name} is told of {', '.join(unknown)}, expected rows")
        for row in rows:
            row.append(told_of.get(row[0], ""))
    count = " or ".join(str(number) for number in sorted(tasks))
    table = markdown_table([section.get("corner", ""), *columns, *beside], rows)
    return table, f"Over {count} {section.get('counted', 'tasks')}" if count else ""


def _cell(answer: Answer, sign: str) -> str:
    value, ci95 = map(in_percent, answer.mean)
    return number(value, sign) + ("" if math.isnan(ci95) else f" ± {number(ci95)}")


def _lines(figure: Mapping[str, Any], ask: Ask) -> Lines:
    """By panel and row what is answered; an answer along an axis may be missing, none at named points."""
    lines: dict[str, dict[str, dict[Any, Mean]]] = {}
    for panel, label, value, of in _asked(figure):
        if answer := ask(of):
            lines.setdefault(panel, {}).setdefault(label, {})[value] = answer.mean
        elif "points" in figure:
            raise ValueError(f"figure {figure['name']}: nothing is stored for {label}, {value}")
    return lines


def _asked(figure: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, Mapping[str, Any]]]:
    """Panel, row, place on the axis and question, ``along`` the ``values`` of shots or of a sweep, or at ``points``."""
    if "points" in figure:
        for (panel, points), (label, row) in product(figure["points"].items(), figure["rows"].items()):
            yield from ((panel, label, name, {**row, **of}) for name, of in points.items())
        return
    along: str = figure["along"]
    for (panel, at), (label, method) in product(figure["panels"].items(), figure["rows"].items()):
        for value in figure["values"]:
            where = {"shots": value} if along == "shots" else {"setting": {along: value}}
            yield panel, label, value, {**at, "method": method, **where}


def _made(made: Mapping[str, tuple[str, str]]) -> str:
    """A row for commands that differ in runs, data and seeds alone; the files themselves have them in full."""
    groups: dict[tuple[str, str], list[str]] = {}
    for file in sorted(made):
        groups.setdefault((command_form(made[file][0]), file.rpartition("/")[0]), []).append(file)
    rows = []
    for (command, folder), files in groups.items():
        commits = list(dict.fromkeys(short_commit({"commit": made[file][1]}) for file in files))
        more = f" and {len(commits) - FEW} more" if len(commits) > FEW else ""
        name = files[0] if len(files) == 1 else f"{folder}/ ({len(files)} files)"
        rows.append([name, f"`{command}`", ", ".join(commits[:FEW]) + more])
    return markdown_table(["file", "command", "commit"], rows)
