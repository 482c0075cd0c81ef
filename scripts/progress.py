"""How far a script is: a bar on a terminal, plain lines now and then elsewhere. Always on stderr."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""Seconds between two plain lines."""

Advance = Callable[[int], None]
"""Called with how much was done since the last call."""


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show how much of ``total`` is done, as told by calls of what this yields."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total)
            yield lambda more: bar.update(task, advance=more)
        return
    done, last_line = 0, time.monotonic()

    def advance(more: int) -> None:
        nonlocal done, last_line
        done += more
        now = time.monotonic()
        if done == total or now - last_line >= LINE_EVERY_S:
            last_line = now
            print(f"{description} {done}/{total}", file=sys.stderr, flush=True)

    yield advance
