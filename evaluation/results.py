"""What an evaluation says, in one form for the table, the JSON file, the plots, the report and the pages of results."""

import json
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch

from common.atomic_file import atomic_write
from common.provenance import commit
from evaluation.comparison import Measured
from evaluation.probes import ONE_LABEL_PENALTY
from evaluation.statistics import mean_for, paired_difference
from tasks.source import TaskSource

Setting = dict[str, Any]
"""What a sweep varies: one name and its value, or empty outside sweeps."""


class Entry(TypedDict):
    """Where a number of a results file is from."""

    method: str
    source: str
    shots: int
    readout: str
    setting: Setting
    seed: int


class TaskAccuracies(Entry):
    """The accuracy (0 to 1) of a method on each task, and all that identifies the tasks."""

    ways: int
    queries: int
    size: int | None
    permute: bool
    data: list[str]  # fingerprints of the data sets, shortened
    drawn: str  # fingerprint of the data and everything drawn for the tasks: equal for equal tasks alone
    diverged: int  # tasks whose features are not finite, which count as guesses
    accuracies: list[float]


class Row(Entry):
    """Mean few-shot accuracy (0 to 1) of a method on a source, and the half-width of its 95 % interval over tasks."""

    ways: int
    accuracy: float
    ci95: float | None
    tasks: int


class Difference(Entry):
    """Mean accuracy of ``method`` less that of ``minus`` on the same tasks, with its own 95 % interval."""

    minus: str
    difference: float
    ci95: float | None
    tasks: int


class Results(TypedDict):
    """All that is written to a results file."""

    rows: list[Row]
    differences: list[Difference]
    per_task: list[TaskAccuracies]
    meta: dict[str, Any]


class View(NamedTuple):
    """What may be looked at in one table: all else being equal, methods and sources compare."""

    shots: int
    readout: str
    setting: str  # as ``name=value``; empty outside sweeps
    value: Any  # the value alone; None outside sweeps


def task_accuracies(
    measured: Iterable[Measured],
    name: str,
    source: TaskSource,
    *,
    seed: int,
    size: int | None,
    setting: Mapping[str, Any] | None = None,
    by_step: bool = False,
) -> list[TaskAccuracies]:
    """``measured`` on the source called ``name``, ready for a file; ``by_step`` makes inner steps a setting."""
    return [
        {
            "method": found.method,
            "source": name,
            "seed": seed,
            "ways": source.ways,
            "shots": found.shots,
            "queries": source.queries,
            "size": size,
            "permute": source.permute,
            "data": [dataset.fingerprint[:16] for dataset in source.datasets],
            "drawn": found.drawn,
            "readout": found.readout,
            "setting": {**(setting or {}), **({"steps": found.steps} if by_step and found.steps is not None else {})},
            "diverged": found.diverged,
            "accuracies": found.accuracies,
        }
        for found in measured
    ]


def summarise(per_task: Sequence[TaskAccuracies], meta: Mapping[str, Any], leads: bool = True) -> Results:
    """Means of ``per_task``, and how far the first of its methods ``leads`` the others on the same tasks.

    ``meta`` is completed by ``diverged``: by source and method, how many tasks' features did not stay finite. So it is
    by the penalty of ridge regression on one label, since older results have another.
    """
    rows: list[Row] = []
    diverged: dict[str, dict[str, int]] = {}
    for found in per_task:
        mean = mean_for(found["readout"], found["accuracies"])
        rows.append(
            {
                "method": found["method"],
                "source": found["source"],
                "ways": found["ways"],
                "shots": found["shots"],
                "readout": found["readout"],
                "setting": found["setting"],
                "accuracy": mean.value,
                "ci95": None if math.isnan(mean.ci95) else mean.ci95,
                "tasks": len(found["accuracies"]),
                "seed": found["seed"],
            }
        )
        by_method = diverged.setdefault(found["source"], {})
        by_method[found["method"]] = by_method.get(found["method"], 0) + found["diverged"]
    return {
        "rows": rows,
        "differences": list(_leads(per_task)) if leads else [],
        "per_task": list(per_task),
        "meta": {**meta, "one_label_penalty": ONE_LABEL_PENALTY, "diverged": diverged},
    }


def _leads(per_task: Sequence[TaskAccuracies]) -> Iterator[Difference]:
    """How far the first method leads each other one, wherever they are comparable."""
    first = per_task[0]["method"]
    of_first = [found for found in per_task if found["method"] == first]
    for other in per_task:
        for one in of_first if other["method"] != first else []:
            if not comparable(one, other):
                continue
            lead = paired_difference(one["accuracies"], other["accuracies"], one["readout"])
            yield {
                "method": first,
                "minus": other["method"],
                "source": other["source"],
                "shots": other["shots"],
                "readout": other["readout"],
                "setting": one["setting"],
                "difference": lead.value,
                "ci95": None if math.isnan(lead.ci95) else lead.ci95,
                "tasks": len(other["accuracies"]),
                "seed": other["seed"],
            }


def leader(results: Results) -> str | None:
    """The method whose leads ``results`` tell; None where they tell none."""
    return next((found["method"] for found in results["differences"]), None)


def environment(device: torch.device | None = None) -> dict[str, str | int]:
    """What the numbers may depend on besides seeds: commit, versions, threads, processor, GPU (``device``)."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device is not None and device.type == "cuda" else {}
    return {
        "commit": commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        **gpu,
    }


def processor() -> str:
    """The name of the processor, or an empty string where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def short_commit(made: Mapping[str, Any]) -> str:
    """The commit in ``made``, from ``environment``, for a reader: ten digits, and whether there were changes."""
    commit: str = made["commit"]
    return commit[:10] + ("+changes" if commit.endswith("+changes") else "")


def write_results(path: str | Path, results: Results) -> None:
    """Write ``results`` as JSON: whole or not at all. Raises OSError where that fails."""
    with atomic_write(path) as file:
        file.write((json.dumps(results, allow_nan=False, indent=None).replace("}, {", "},\n {") + "\n").encode())


def view(found: Mapping[str, Any]) -> View:
    """The view that an entry of a results file belongs to."""
    name, value = next(iter(found["setting"].items()), ("", None))
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return View(found["shots"], found["readout"], f"{name}={text}" if name else "", value)


def comparable(one: TaskAccuracies, other: TaskAccuracies) -> bool:
    """Whether the two are of the same tasks and readout, and of one setting unless ``other`` has none."""
    places = [(found["source"], found["seed"], found["shots"], found["readout"]) for found in (one, other)]
    return places[0] == places[1] and other["setting"] in (one["setting"], {})
