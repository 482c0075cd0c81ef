"""Means over tasks and how far they can be trusted."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student_t


class Mean(NamedTuple):
    """A mean over tasks and the half-width of its 95 % interval."""

    value: float
    ci95: float


def mean_over_tasks(values: Sequence[float]) -> Mean:
    """The mean of ``values``, one a task, and t(0.975, T-1) times its standard error (0 for a single task)."""
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) < 2:
        return Mean(float(numbers.mean()), 0.0)
    standard_error = numbers.std(ddof=1) / np.sqrt(len(numbers))
    return Mean(float(numbers.mean()), float(student_t.ppf(0.975, len(numbers) - 1) * standard_error))


def paired_difference(first: Sequence[float], second: Sequence[float]) -> Mean:
    """The mean of ``first`` minus ``second``, taken task by task, with its 95 % interval.

    Raises ValueError for different numbers of tasks.
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} accuracies, expected the same tasks in both")
    return mean_over_tasks([a - b for a, b in zip(first, second, strict=True)])


BySeed = Mapping[int, Sequence[float]]
"""The accuracies of each task, by seed."""


def mean_over_seeds(by_seed: BySeed) -> Mean:
    """The mean over all tasks of all seeds, with its 95 % interval."""
    return mean_over_tasks([one for values in by_seed.values() for one in values])


def paired_over_seeds(first: BySeed, second: BySeed) -> tuple[Mean, int] | None:
    """``first`` less ``second``, task by task, on the seeds that both have with as many tasks, and how many these are.

    None where there are no such seeds.
    """
    seeds = [seed for seed in first if seed in second and len(first[seed]) == len(second[seed])]
    if not seeds:
        return None
    mine, theirs = ([one for seed in seeds for one in values[seed]] for values in (first, second))
    return paired_difference(mine, theirs), len(mine)
