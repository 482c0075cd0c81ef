"""How far a run is: a bar where someone watches, a line now and then where the output goes to a file."""

import math
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Column

from common.expected import duration
from outer_loop.run.metric_names import BEST, CHOSEN_BY, FAR, VALIDATION, ReadName, judged_names, read_name

LINE_EVERY_S = 10.0
"""Seconds between two plain lines."""

WIDE, NARROW = 100, 70
"""Columns of a terminal that has room for all figures, and for some with their names."""


class OuterProgress:
    """Progress over outer steps ``initial``..``total``, on ``stream`` (stderr): a context manager.

    A live bar on a terminal, shorter where that is narrow, else plain lines: of the first and the last step, and
    ``LINE_EVERY_S`` apart between them; and every validation. One that is not ``shown`` says nothing. Where validation
    tells an ``index`` and no accuracies, it is shown as it is and not in percent.
    """

    def __init__(
        self,
        total: int,
        initial: int = 0,
        stream: TextIO | None = None,
        *,
        shown: bool = True,
        index: bool = False,
        best: float = -math.inf,
    ) -> None:
        self.total, self.initial, self.shown, self.index, self._best = total, initial, shown, index, best
        self._stream = sys.stderr if stream is None else stream
        self._bar: Bar | None = None
        self._started = self._last_line = self._last_step = -math.inf

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
        now = self._last_step = time.monotonic()
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
        """A validation: accuracy on each source after its last inner step, the mean and the best so far, and a table.

        The table tells by labels of a class and probe, where there are several, validation sources and far ones.
        """
        now = time.monotonic()
        self._started += now - max(self._started, self._last_step)  # outer steps alone are timed
        self._last_step = now
        last: dict[str, float] = {}
        for name in sorted(judged_names(metrics, VALIDATION), key=lambda name: name.step):
            last[name.source] = metrics[str(name)]
        best, mean = metrics[BEST], metrics[CHOSEN_BY]
        found = ", ".join(f"{source} {self._told(value)}" for source, value in last.items())
        earlier, self._best = self._best, best
        so_far = "the best so far" if mean >= best else f"best so far {self._told(best)}"
        if earlier == mean == best:
            so_far = "as good as the best so far, which stays"
        table = list(_table(metrics))
        if table:
            found = self._told(mean)
        when = f"after outer step {outer_step}" if outer_step else "before the first outer step"
        self.message("\n".join([f"validation {when}: {found}; {so_far}", *table]))

    def _told(self, value: float) -> str:
        return f"{value:.3f}" if self.index else f"{100 * value:.1f} %"

    def message(self, text: str) -> None:
        """A line of its own, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        elif self.shown:
            print(text, file=self._stream, flush=True)


def _table(metrics: Mapping[str, float]) -> Iterator[str]:
    """The lines of a table of accuracies in percent, a row for each source and a column for labels and probe."""
    names = [name for name in map(read_name, metrics) if name is not None and name.kind in (VALIDATION, FAR)]
    if not names:
        return
    columns = list(dict.fromkeys((name.shots, name.probe) for name in names))
    rows = list(dict.fromkeys((name.kind, name.source) for name in names))
    titles = [f"{source}{', far' * (kind == FAR)}" for kind, source in rows]
    width = max(map(len, titles))
    heads = [f"{shots} {probe}" for shots, probe in columns]
    yield " ".join([" " * width, *heads])
    for title, row in zip(titles, rows, strict=True):
        values = [metrics[str(ReadName(*row, *column))] for column in columns]
        yield " ".join(
            [title.ljust(width), *(f"{100 * v:.1f}".rjust(len(head)) for v, head in zip(values, heads, strict=True))]
        )
