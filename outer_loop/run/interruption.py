"""Ctrl-C and SIGTERM as a request to finish the current outer step and save."""

import signal
from types import FrameType
from typing import Self

from outer_loop.run.processes import ALONE, Ranks


class Interruption:
    """While this context is open, the first SIGINT or SIGTERM only sets ``signal``; a second SIGINT interrupts at once.

    Of several ``ranks`` none is interrupted at once, which would leave the others waiting. For the main thread only.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.signal: signal.Signals | None = None
        self._ranks = ranks

    def __enter__(self) -> Self:
        self._before = {name: signal.signal(name, self._note) for name in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None and number == signal.SIGINT and self._ranks.count == 1:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    def agreed(self) -> bool:
        """On every rank: whether a signal has reached any of them, which then becomes the ``signal`` of all."""
        number = self._ranks.highest(self.signal or 0)
        if number:
            self.signal = signal.Signals(number)
        return bool(number)

    @property
    def exit_code(self) -> int:
        """128 + the signal's number, as shells count; 0 if there was none."""
        return 0 if self.signal is None else 128 + self.signal
