"""Means over tasks and how far they can be trusted."""

import math
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


def over_trainings(means: Sequence[Mean]) -> Mean:
    """The mean of ``means``, one a training, on the same tasks; its interval is that over tasks and over trainings.

    Both half-widths are added in squares. That over tasks is the mean of the single ones.
    """
    over_seeds = mean_over_tasks([mean.value for mean in means])
    return Mean(over_seeds.value, math.hypot(over_seeds.ci95, sum(mean.ci95 for mean in means) / len(means)))


def wider(over_tasks: Mean, by_training: Mean) -> Mean:
    """The mean over the tasks of several trainings, each on tasks of its own, with the wider of both intervals.

    The means of trainings vary with their tasks too, but a few may happen to be alike.
    """
    return Mean(over_tasks.value, max(over_tasks.ci95, by_training.ci95))


def paired_difference(first: Sequence[float], second: Sequence[float], readout: str = "") -> Mean:
    """The mean of ``first`` minus ``second``, task by task, as of ``readout``.

    Raises ValueError for different numbers of tasks.
    """
    if len(first) != len(second):
        raise ValueError(f"got {len(first)} and {len(second)} accuracies, expected the same tasks in both")
    return mean_for(readout, [a - b for a, b in zip(first, second, strict=True)])


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


RAND, ORDER, PAIRS = "rand", "order", "pairs"
"""What results call the readouts of whole sets: the adjusted Rand index, that between two orders, pairs told right."""

OF_SETS = frozenset({RAND, ORDER, PAIRS})
"""Readouts whose seeds are of training and of what methods draw, not of tasks."""

RESAMPLES = 4000
"""Draws of a bootstrap."""


def bootstrap_mean(values: Sequence[float]) -> Mean:
    """The mean of ``values``, one a set, and half the width of the middle 95 % of its bootstrap over sets.

    NaN for that of one set.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if len(numbers) == 1:
        return Mean(float(numbers[0]), math.nan)
    draw = np.random.default_rng(0)
    means = numbers[draw.integers(len(numbers), size=(RESAMPLES, len(numbers)))].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Mean(float(numbers.mean()), float(high - low) / 2)


def mean_for(readout: str, values: Sequence[float]) -> Mean:
    """The mean of ``values`` of ``readout``: over tasks, or over whole sets, whose spread a bootstrap tells."""
    return bootstrap_mean(values) if readout in OF_SETS else mean_over_tasks(values)


def joined_seeds(readout: str, by_seed: Sequence[Sequence[float]]) -> list[float]:
    """The values of several seeds as those of one: all tasks, or of whole sets, which are the same, each set's mean."""
    if readout in OF_SETS and len({len(values) for values in by_seed}) == 1:
        return [float(np.mean(values)) for values in zip(*by_seed, strict=True)]
    return [value for values in by_seed for value in values]
