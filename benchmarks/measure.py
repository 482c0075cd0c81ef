"""Times one implementation of a workload in a process of its own."""

import importlib.util
import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.workloads import WORKLOADS, Setting, multiply_adds, naive, ours, prepare


def implementations() -> tuple[str, ...]:
    """The names that ``measure`` takes: "jax" is one of them where JAX is installed."""
    return ("ours", "naive", "jax") if importlib.util.find_spec("jax") else ("ours", "naive")


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
    """The figures of one workload: seconds, throughput, floor and peak memory of this process.

    JAX always recomputes, since it is faster so, and its first run compiles.
    """
    torch.set_num_threads(threads)
    setting = prepare(WORKLOADS[name])
    run = _work(setting, implementation, threads, recompute)
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


def _work(setting: Setting, implementation: str, threads: int, recompute: bool) -> Callable[[], object]:
    """What is timed."""
    if implementation == "jax":
        _limit_jax(threads)
        from benchmarks.jax_workloads import compiled

        return compiled(setting)
    return (lambda: ours(setting, recompute)) if implementation == "ours" else (lambda: naive(setting))


def _limit_jax(threads: int) -> None:
    """Let JAX use so many threads on the CPU. To be called before JAX is first imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["NPROC"] = str(threads)  # the size of XLA's pools of threads
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"


def check_jax(name: str, threads: int, vectors: bool) -> None:
    """Hold the JAX version of a workload to this program and, with ``vectors``, metz to its stored reference vectors.

    Raises ValueError where they differ by more than rounding, OSError or ValueError for vectors that cannot be read.
    """
    torch.set_num_threads(threads)
    _limit_jax(threads)
    from benchmarks.jax_check import check_vectors, check_workload

    if vectors and WORKLOADS[name].rule == "metz":
        check_vectors()
    check_workload(prepare(WORKLOADS[name]))


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """``work(*arguments)`` in a fresh process, so that its peak memory and its threads are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)
