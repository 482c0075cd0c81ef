"""Times one implementation of a workload in a process of its own."""

import importlib.util
import multiprocessing
import os
import resource
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.gradient_error import gradient_error
from benchmarks.workloads import WORKLOADS, Setting, multiply_adds, naive, ours, prepare
from common.allocator import keep_large_blocks

SQUARES = {"cpu": (256, 512, 1024), "cuda": (1024, 4096, 8192)}
"""Sizes of the products that the rate of a device is measured with."""


def implementations(name: str, device: str) -> tuple[str, ...]:
    """What ``measure`` takes of a workload: on a CPU "jax" is one of them where it is installed and knows the rule."""
    with_jax = device == "cpu" and WORKLOADS[name].in_jax and importlib.util.find_spec("jax")
    return ("ours", "naive", "jax") if with_jax else ("ours", "naive")


def multiply_adds_per_second(device: str) -> float:
    """The best median rate of float32 square products in the precision that is set, on the threads in use."""
    rates = []
    for size in SQUARES[device]:
        a, b = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
        rates.append(size**3 / _median(lambda a=a, b=b: a @ b, 9, device)[0])  # type: ignore[misc]
    return max(rates)


def _median(work: Callable[[], object], repeats: int, device: str) -> tuple[float, float]:
    """Median seconds of ``repeats`` runs, and those of the first run before them, each until the device is done."""
    seconds = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:]), seconds[0]


def measure(name: str, implementation: str, conditions: Namespace) -> dict[str, Any]:
    """The figures of one workload: seconds, throughput, floor and peak memory of this process and of its device.

    ``conditions`` are the command's arguments. JAX always recomputes, which is faster, and its first run compiles.
    """
    keep_large_blocks()
    torch.set_num_threads(conditions.threads)
    torch.set_float32_matmul_precision(conditions.precision)
    device = conditions.device
    setting = prepare(WORKLOADS[name], device)
    run = _work(setting, implementation, conditions)
    rate = multiply_adds_per_second(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    median, first = _median(run, conditions.repeats, device)
    peak = {"peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if device == "cuda":
        peak["peak_device_mb"] = torch.cuda.max_memory_allocated() / 2**20
    rate = max(rate, multiply_adds_per_second(device))
    floor = multiply_adds(setting) / rate
    return {
        "workload": name,
        "implementation": implementation,
        "median_s": median,
        "first_s": first,
        "steps_tasks_per_s": setting.workload.steps * setting.workload.tasks / median,
        "floor_s": floor,
        "ratio_to_floor": median / floor,
        **peak,
        "threads": conditions.threads,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "precision": conditions.precision,
        **(gradient_error(setting, run()) if conditions.error else {}),
    }


def _work(setting: Setting, implementation: str, conditions: Namespace) -> Callable[[], Sequence[Any]]:
    """What is timed."""
    if implementation == "jax":
        _limit_jax(conditions.threads)
        from benchmarks.jax_workloads import compiled

        return compiled(setting)
    if implementation == "naive":
        return lambda: naive(setting)
    return lambda: ours(setting, conditions.recompute, conditions.compile)


def _limit_jax(threads: int) -> None:
    """Let JAX use so many threads on the CPU. To be called before JAX is first imported."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["NPROC"] = str(threads)  # the size of XLA's pools of threads
    if threads == 1:
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"


def check_jax(name: str, threads: int) -> None:
    """Hold the JAX version of a workload to this program. Raises ValueError where they differ by more than rounding."""
    torch.set_num_threads(threads)
    _limit_jax(threads)
    from benchmarks.jax_check import check_workload

    check_workload(prepare(WORKLOADS[name]))


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """``work(*arguments)`` in a fresh process, so that its peak memory and its threads are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)
