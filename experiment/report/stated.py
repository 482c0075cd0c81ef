"""What results files state that tell of no single tasks, such as one-shot runs or a cost."""

import math
import re
import statistics
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any

from evaluation.lineup import rule_label
from evaluation.statistics import Mean
from experiment.report.places import Place

OVER = " over "
"""Between the names of two runs of which a file states how many times the cost of one that of the other is."""

COSTS = {"seconds": "seconds", "MiB": "peak_mib"}
"""What a file of ``cluster --json`` states, by the name of the place where it is kept; seconds also of a training."""


def stated(content: Mapping[str, Any]) -> Iterator[tuple[str, Place, int, int, Mean]]:
    """Method, place, seed, tasks and mean of everything of that kind in a file."""
    for path, error in content.get("errors", {}).items():
        label = rule_label(path.removesuffix(", nearest"))
        method, seed = re.sub(r"_\d+$", "", label), int((re.findall(r"_(\d+)$", label) or [0])[0])
        if path.endswith(", nearest"):
            method = f"{'raw' if label == 'pixels' else 'embedding'}_nearest"
        mean = Mean(error["error"] / 100, error["ci95"] / 100)
        yield method, Place("one_shot_runs", ways=20, shots=1), seed, 0, mean
    if one := content.get("clustered"):
        for what, key in COSTS.items():
            yield one["method"], Place(what), 0, 0, Mean(one[key] / 100, math.nan)
    costs = content.get("costs", {})
    medians = {name: statistics.median(cost["seconds"]) for name, cost in costs.items()}
    for name, cost in costs.items():
        if "outer_steps" in cost:
            yield name, Place("seconds"), 0, 0, Mean(medians[name] * cost["outer_steps"] / 100, math.nan)
    for (name, cost), (other, less) in permutations(costs.items(), 2):
        seconds = medians[name] / medians[other]
        for what, ratio in (("seconds", seconds), ("memory", cost["peak_mib"] / less["peak_mib"])):
            yield f"{name}{OVER}{other}", Place(what), 0, 0, Mean(ratio / 100, math.nan)
