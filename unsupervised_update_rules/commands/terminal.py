"""What a script shows: how far it is, on stderr, and a table at its end, on stdout."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""Seconds between two plain lines."""

Advance = Callable[[int], None]
"""Called with how much was done since the last call."""


def print_table(table: RenderableType, width: int) -> None:
    """Print ``table``; where there is no terminal, in a file, there is room for ``width`` columns."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=width)
    console.print(table)


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show how much of ``total`` is done, by calls of what this yields: a bar, or lines without a terminal."""
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
