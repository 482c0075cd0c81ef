"""How far a run is: a bar where someone watches, a line now and then where the output goes to a file."""

import math
import sys
import time
from collections.abc import Mapping
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from common.expected import duration
from outer_loop.run.metric_names import validation_names

LINE_EVERY_S = 10.0
"""Seconds between two plain lines."""

WIDE, NARROW = 100, 70
"""Columns of a terminal that has room for all figures, and for some with their names."""


class OuterProgress:
    """Progress over outer steps ``initial``..``total``, on ``stream`` (stderr): a context manager.

    A live bar on a terminal, shorter where that is narrow, else plain lines: of the first and the last step, and
    ``LINE_EVERY_S`` apart between them; and every validation. One that is not ``shown`` says nothing.
    """

    def __init__(self, total: int, initial: int = 0, stream: TextIO | None = None, *, shown: bool = True) -> None:
        self.total, self.initial, self.shown = total, initial, shown
        self._stream = sys.stderr if stream is None else stream
        self._bar: Bar | None = None
        self._started = self._last_line = -math.inf

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self.shown and self._stream.isatty():
            console = Console(file=self._stream)
            self._width = console.width
            title = "outer step " if self._width >= WIDE else ""
            self._bar = Bar(
                TextColumn(title + "{task.completed}/{task.total}", table_column=Column(no_wrap=True)),
                BarColumn(bar_width=None),
                TextColumn("{task.description}", table_column=Column(no_wrap=True)),
                console=console,
                refresh_per_second=4,
                expand=True,
            )
            self._task = self._bar.add_task("", total=self.total, completed=self.initial)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, outer_step: int, meta_loss: float, accuracy: float) -> None:
        """Show the figures of ``outer_step`` (finished outer steps); accuracy as a share."""
        now = time.monotonic()
        done = outer_step - self.initial
        rate = done / max(now - self._started, 1e-9)
        left = duration((self.total - outer_step) / rate) if rate > 0 else "unknown"
        figures = f"meta-loss {meta_loss:.4f}, accuracy {accuracy:.3f}, {rate:.2f} steps/s, {left} left"
        if self._bar is not None:
            short = f"loss {meta_loss:.3f}, acc {accuracy:.3f}, {left} left"
            shown = figures if self._width >= WIDE else short if self._width >= NARROW else short.replace(" left", "")
            self._bar.update(self._task, completed=outer_step, description=shown)
        elif done == 1 or outer_step == self.total or now - self._last_line >= LINE_EVERY_S:
            self._last_line = now
            self.message(f"outer step {outer_step}/{self.total}, {figures}")

    def validated(self, outer_step: int, metrics: Mapping[str, float]) -> None:
        """A line about a validation: accuracy on each source after its last inner step, and the best mean so far."""
        last: dict[str, float] = {}
        for name in sorted(validation_names(metrics), key=lambda name: name.step):
            last[name.source] = metrics[str(name)]
        best, mean = metrics["best_valid_accuracy"], sum(last.values()) / max(len(last), 1)
        found = ", ".join(f"{source} {100 * value:.1f} %" for source, value in last.items())
        so_far = "the best so far" if mean >= best else f"best so far {100 * best:.1f} %"
        self.message(f"validation after outer step {outer_step}: {found}; {so_far}")

    def message(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        elif self.shown:
            print(text, file=self._stream, flush=True)
