"""What outer steps of several configs cost, measured in turns, each config in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from common.allocator import keep_large_blocks
from experiment.build import build_trainer
from outer_loop.config.schema import Config

MIB_IN_KIB = 1024


@dataclass(frozen=True)
class Cost:
    """Seconds of each outer step, and the most memory of its process in MiB, before the first step and in all."""

    seconds: list[float]
    loaded_mib: float
    peak_mib: float

    @property
    def median(self) -> float:
        """Median seconds of an outer step."""
        return statistics.median(self.seconds)


def cost_in_turns(
    configs: Mapping[str, Config], steps: int, progress: Callable[[int], object] | None = None
) -> dict[str, Cost]:
    """The cost of ``steps`` outer steps of each of ``configs``, by name: one step of each, then the next of each.

    So whatever else slows the machine slows all of them. Before the first of them each takes one step that does not
    count in time. Nothing is written. Raises ValueError where one fails, with what it said.
    """
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        ends: dict[str, Connection] = {}
        for name, config in configs.items():
            ends[name], far = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(config, far), daemon=True)
            process.start()
            far.close()
            stack.callback(process.join)
            stack.callback(ends[name].close)
        loaded = {name: _answer(name, end) for name, end in ends.items()}
        seconds: dict[str, list[float]] = {name: [] for name in configs}
        for step in range(steps + 1):
            for name, end in ends.items():
                end.send("step")
                seconds[name].append(_answer(name, end))
            if step and progress is not None:
                progress(step)
        peaks = {}
        for name, end in ends.items():
            end.send("peak")
            peaks[name] = _answer(name, end)
    return {name: Cost(seconds[name][1:], loaded[name], peaks[name]) for name in configs}


def _answer(name: str, end: Connection) -> float:
    """The number that the process of ``name`` sends next."""
    try:
        answer = end.recv()
    except EOFError:
        answer = "its process ended"
    if isinstance(answer, str):
        raise ValueError(f"{name}: {answer}")
    return float(answer)


def _serve(config: Config, end: Connection) -> None:
    """Take an outer step of ``config``, or tell of memory, whenever ``end`` asks, until it is closed."""
    try:
        keep_large_blocks()
        torch.set_num_threads(config.threads)
        trainer = build_trainer(config, say=lambda line: None)
        end.send(_most_memory())
        while True:
            if end.recv() == "peak":
                end.send(_most_memory())
                continue
            started = time.perf_counter()
            trainer.step()
            end.send(time.perf_counter() - started)
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # whatever it is, the one who asked shall say it
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        end.send(f"{kind}{error}")


def _most_memory() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB_IN_KIB
