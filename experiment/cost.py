"""What outer steps of several configs cost and how θ moves, measured in turns, each config in a process of its own."""

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from common.allocator import keep_large_blocks
from experiment.build import build_trainer
from outer_loop.config.schema import Config
from update_rules.contract import Rule

MIB_IN_KIB = 1024


@dataclass(frozen=True)
class Moves:
    """How far parameters of θ moved in all outer steps, by name: root mean squares over their numbers."""

    path: dict[str, float]
    """The sum of the lengths of the steps."""
    displacement: dict[str, float]
    """From where they started to where they came."""
    longest: float
    """The sum of the outer learning rates, about the longest path that Adam allows."""
    clipped_share: float
    """Of the steps whose direction was clipped."""


@dataclass(frozen=True)
class Cost:
    """Seconds of each outer step, and the most memory of its process in MiB, before the first step and in all.

    A whole run would have ``outer_steps``.
    """

    outer_steps: int
    seconds: list[float]
    loaded_mib: float
    peak_mib: float
    moves: Moves

    @property
    def median(self) -> float:
        """Median seconds of an outer step."""
        return statistics.median(self.seconds)

    @property
    def whole(self) -> float:
        """Seconds of a whole run, evaluations apart: its outer steps, each of median length."""
        return self.median * self.outer_steps


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
        loaded: dict[str, float] = {name: _answer(name, end) for name, end in ends.items()}
        seconds: dict[str, list[float]] = {name: [] for name in configs}
        for step in range(steps + 1):
            for name, end in ends.items():
                end.send("step")
                seconds[name].append(_answer(name, end))
                if not step:
                    end.send("count from here")
            if step and progress is not None:
                progress(step)
        rest: dict[str, tuple[float, Moves]] = {}
        for name, end in ends.items():
            end.send("rest")
            rest[name] = _answer(name, end)
    return {
        name: Cost(config.outer_steps, seconds[name][1:], loaded[name], *rest[name]) for name, config in configs.items()
    }


def _answer(name: str, end: Connection) -> Any:
    """What the process of ``name`` sends next."""
    try:
        answer = end.recv()
    except EOFError:
        answer = "its process ended"
    if isinstance(answer, str):
        raise ValueError(f"{name}: {answer}")
    return answer


def _serve(config: Config, end: Connection) -> None:
    """Take an outer step of ``config``, or tell of memory and moves, whenever ``end`` asks, until it is closed."""
    try:
        keep_large_blocks()
        torch.set_num_threads(config.threads)
        trainer = build_trainer(config, say=lambda line: None)
        end.send(_most_memory())
        walk = _Walk(trainer.state.rule)
        while True:
            asked = end.recv()
            if asked == "count from here":
                walk = _Walk(trainer.state.rule)
            elif asked == "rest":
                end.send((_most_memory(), walk.moves()))
            else:
                started = time.perf_counter()
                found = trainer.step()
                seconds = time.perf_counter() - started
                walk.took(found, config.outer.clip)
                end.send(seconds)
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # whatever it is, the one who asked shall say it
        kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
        end.send(f"{kind}{error}")


class _Walk:
    """How what ``rule`` learns moves from where it is now."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.first = self.last = self._numbers()
        self.path = dict.fromkeys(self.first, 0.0)
        self.longest, self.clipped, self.taken = 0.0, 0, 0

    def took(self, found: Mapping[str, float], clip: float) -> None:
        """Follow an outer step that ``found`` this."""
        now = self._numbers()
        self.path = {name: self.path[name] + _rms(now[name] - self.last[name]) for name in now}
        self.last, self.longest, self.taken = now, self.longest + found["learning_rate"], self.taken + 1
        self.clipped += found["gradient_norm"] > clip

    def moves(self) -> Moves:
        """All that was followed."""
        displacement = {name: _rms(self.last[name] - value) for name, value in self.first.items()}
        return Moves(self.path, displacement, self.longest, self.clipped / max(1, self.taken))

    def _numbers(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.rule.named_parameters() if value.requires_grad}


def _rms(value: Tensor) -> float:
    return float(value.square().mean().sqrt())


def _most_memory() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MIB_IN_KIB
