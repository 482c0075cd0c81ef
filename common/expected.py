"""What long work will take, from a short trial of it, in words."""

import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import psutil
import torch

from common.available_memory import available_memory
from common.peak_memory import PeakMemory

ENOUGH_S = 0.1
"""A trial shorter than this is repeated."""

REPEATS = 3
"""But not more often."""

MB = 2**20


class Taken(NamedTuple):
    """Seconds, and bytes at the peak."""

    seconds: float
    bytes: float


def take(run: Callable[[], object], device: torch.device, repeats: int = REPEATS) -> Taken:
    """What ``run`` takes: the median of 1 to ``repeats`` runs. One before them, which is slower, is watched."""
    with PeakMemory() as memory:
        run()
    seconds: list[float] = []
    while not seconds or (sum(seconds) < ENOUGH_S and len(seconds) < repeats):
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return Taken(median(seconds), memory.peak)


def duration(seconds: float) -> str:
    """``seconds`` as h:mm:ss."""
    minutes, s = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{s:02d}"


def memory_of(device: torch.device, sharing: int = 1) -> tuple[float, float]:
    """Bytes that this process holds on ``device``, and with them those that it may take, of so many ``sharing`` it."""
    held = psutil.Process().memory_info().rss if device.type == "cpu" else 0
    return held, held + available_memory(device) / sharing


def expected(what: str, taken: Taken, device: torch.device, smaller: str) -> str:
    """One line about what ``what`` will take beside the memory that this process holds.

    Raises ValueError, which says what to make ``smaller``, where there is not enough memory.
    """
    held, there = memory_of(device)
    peak = held + taken.bytes
    if peak > there:
        raise ValueError(
            f"{what} would take {peak / MB:,.0f} MB at the peak, but {there / MB:,.0f} MB are available; take {smaller}"
        )
    memory = f"{peak / MB:,.0f} MB at the peak, {there / MB:,.0f} MB available"
    return f"expected: {duration(taken.seconds)} for {what}; {memory}"
