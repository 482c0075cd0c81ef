"""Times one implementation of a workload in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.workloads import WORKLOADS, multiply_adds, naive, ours, prepare

IMPLEMENTATIONS = ("ours", "naive")


def multiply_adds_per_second() -> float:
    """The best median rate of float32 square products of 256 to 1024, on the threads in use."""
    rates = []
    for size in (256, 512, 1024):
        a, b = torch.rand(size, size), torch.rand(size, size)
        rates.append(size**3 / _median(lambda a=a, b=b: a @ b, 9)[0])  # type: ignore[misc]
    return max(rates)


def _median(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of ``repeats`` runs, and the seconds of the first run before them."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:]), seconds[0]


def measure(name: str, implementation: str, threads: int, repeats: int, recompute: bool) -> dict[str, Any]:
    """The figures of one workload: seconds, throughput, floor and peak memory of this process."""
    torch.set_num_threads(threads)
    setting = prepare(WORKLOADS[name])
    run = (lambda: ours(setting, recompute)) if implementation == "ours" else (lambda: naive(setting))
    rate = multiply_adds_per_second()
    median, first = _median(run, repeats)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rate = max(rate, multiply_adds_per_second())
    floor = multiply_adds(setting) / rate
    return {
        "workload": name,
        "implementation": implementation,
        "median_s": median,
        "first_s": first,
        "steps_tasks_per_s": setting.workload.steps * setting.workload.tasks / median,
        "floor_s": floor,
        "ratio_to_floor": median / floor,
        "peak_rss_mb": peak,
        "threads": threads,
    }


def measure_alone(*arguments: Any) -> dict[str, Any]:
    """``measure`` in a fresh process, so that its peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, arguments)
