"""What an evaluation says, in one form for the table, the JSON file, the plot and the report."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from rich.table import Table
from rich.text import Text

from outer_loop.evaluation import METHODS, SourceEvaluation
from outer_loop.few_shot_readout import READOUT
from outer_loop.provenance import commit
from outer_loop.statistics import mean_over_tasks, paired_difference
from tasks.task import TaskSource
from update_rules.atomic_file import atomic_write


class Row(TypedDict):
    """Mean few-shot accuracy (0 to 1) of a method on a source, and the half-width of its 95 % interval over tasks."""

    method: str
    source: str
    ways: int
    shots: int
    readout: str
    accuracy: float
    ci95: float
    tasks: int
    seed: int


class Difference(TypedDict):
    """Mean accuracy of ``method`` less that of ``minus`` on the same tasks, with its own 95 % interval."""

    method: str
    minus: str
    source: str
    difference: float
    ci95: float
    tasks: int
    seed: int


class Results(TypedDict):
    """All that is written to a results file."""

    rows: list[Row]
    differences: list[Difference]
    meta: dict[str, Any]


def summarise(
    evaluations: Mapping[str, SourceEvaluation],
    sources: Mapping[str, TaskSource],
    *,
    seed: int,
    meta: Mapping[str, Any],
) -> Results:
    """Means and paired differences of ``evaluations`` by source; ``meta`` must be fit for JSON.

    ``meta`` is completed by ``diverged``: by source and method, how many tasks' networks did not stay finite.
    """
    rows: list[Row] = []
    differences: list[Difference] = []
    for name, evaluation in evaluations.items():
        source = sources[name]
        for method, accuracies in evaluation.accuracies.items():
            mean = mean_over_tasks(accuracies)
            rows.append(
                {
                    "method": method,
                    "source": name,
                    "ways": source.ways,
                    "shots": source.shots,
                    "readout": READOUT,
                    "accuracy": mean.value,
                    "ci95": mean.ci95,
                    "tasks": len(accuracies),
                    "seed": seed,
                }
            )
        for method in METHODS[1:]:
            lead = paired_difference(evaluation.accuracies["rule"], evaluation.accuracies[method])
            differences.append(
                {
                    "method": "rule",
                    "minus": method,
                    "source": name,
                    "difference": lead.value,
                    "ci95": lead.ci95,
                    "tasks": len(evaluation.accuracies["rule"]),
                    "seed": seed,
                }
            )
    diverged = {name: evaluation.diverged for name, evaluation in evaluations.items()}
    return {"rows": rows, "differences": differences, "meta": {**meta, "diverged": diverged}}


def environment() -> dict[str, str | int]:
    """What the numbers may depend on besides seeds: commit, versions, threads, processor."""
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
    }


def write_results(path: str | Path, results: Results) -> None:
    """Write ``results`` as JSON: whole or not at all. Raises OSError where that fails."""
    with atomic_write(path) as file:
        file.write((json.dumps(results, indent=1, allow_nan=False) + "\n").encode())


def percent(value: float, ci95: float, sign: str = "") -> str:
    """A share and its half-interval in percent, such as ``61.3 ± 0.9``; ``sign="+"`` shows the sign of both kinds."""
    return f"{100 * value:{sign}.1f} ± {100 * ci95:.1f}"


def cells(results: Results) -> dict[tuple[str, str], tuple[str, str]]:
    """By method and source: the accuracy and, for all but the rule, how far the rule leads; text in percent."""
    leads = {
        (lead["minus"], lead["source"]): percent(lead["difference"], lead["ci95"], "+")
        for lead in results["differences"]
    }
    return {
        (row["method"], row["source"]): (
            percent(row["accuracy"], row["ci95"]),
            leads.get((row["method"], row["source"]), ""),
        )
        for row in results["rows"]
    }


def sources_of(results: Results) -> list[str]:
    """The names of the sources, in their order."""
    return list(dict.fromkeys(row["source"] for row in results["rows"]))


def caption(results: Results) -> str:
    """What the numbers in the table are, and a warning where networks diverged."""
    row = results["rows"][0]
    lost = sum(count for methods in results["meta"]["diverged"].values() for count in methods.values())
    return (
        f"{row['ways']}-way {row['shots']}-shot accuracy in percent, mean ± 95 % interval over {row['tasks']} tasks; "
        "beside or below it, how far the rule leads on the same tasks"
        + (f"; {lost} networks did not stay finite and count as guesses, see diverged in the results" if lost else "")
    )


def results_table(results: Results) -> Table:
    """A table to print: rows = methods, columns = sources."""
    table = Table(caption=caption(results), caption_justify="left")
    table.add_column("method", no_wrap=True)
    for source in sources_of(results):
        table.add_column(Text(source), justify="right")  # as it is: brackets would be markup
        table.add_column("rule leads", justify="right", style="dim")
    text = cells(results)
    for method in METHODS:
        table.add_row(method, *(part for source in sources_of(results) for part in text[method, source]))
    return table
