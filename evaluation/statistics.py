"""Means over tasks and how far they can be trusted."""

from collections.abc import Sequence
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
    """The mean of ``first`` minus ``second``, task by task. Raises ValueError for different numbers of tasks."""
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} accuracies, expected the same tasks in both")
    return mean_over_tasks([a - b for a, b in zip(first, second, strict=True)])


def share_of_lead(first: Sequence[float], minus: Sequence[float], whole: Sequence[float]) -> Mean:
    """The share that ``first`` keeps of the lead of ``whole`` over ``minus``; its interval is that of its linear part.

    Raises ValueError for different numbers of tasks and where the lead is 0.
    """
    kept, lead = paired_difference(first, minus).value, paired_difference(whole, minus).value
    if not lead:
        raise ValueError("got a share of a lead of 0, expected a lead")
    share = kept / lead
    left = [(one - less - share * (most - less)) / lead for one, less, most in zip(first, minus, whole, strict=True)]
    return Mean(share, mean_over_tasks(left).ci95)
