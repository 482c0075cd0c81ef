"""What a script shows: how far it is, on stderr, and a table at its end, on stdout."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LINE_EVERY_S = 10.0
"""Seconds between two plain lines."""


class Advance(Protocol):
    """Called with how much was done since the last call, and what it was done on if that has changed."""

    def __call__(self, more: int, what: str = "") -> None:
        """Show it."""


def print_table(table: RenderableType, width: int) -> None:
    """Print ``table``; where there is no terminal, in a file, there is room for ``width`` columns."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=width)
    console.print(table)


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """Show how much of ``total`` is done, and on what, by calls of what this yields: a bar, or lines elsewhere."""
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(description, total=total)

            def on_bar(more: int, what: str = "") -> None:
                bar.update(task, advance=more, description=f"{what}: {description}" if what else None)

            yield on_bar
        return
    done, last_line = 0, -math.inf

    def in_lines(more: int, what: str = "") -> None:
        nonlocal done, last_line
        done += more
        now = time.monotonic()
        if done == total or now - last_line >= LINE_EVERY_S:
            last_line = now
            print(f"{what}: {description} {done}/{total}".removeprefix(": "), file=sys.stderr, flush=True)

    yield in_lines
