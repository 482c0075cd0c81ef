"""Ctrl-C, SIGTERM and SIGHUP as a request to finish the current outer step and save."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

from outer_loop.run.processes import ALONE, Ranks

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StoppedError(KeyboardInterrupt):
    """A signal came while nothing would be lost by stopping at once."""


class Interruption:
    """While this context is open, the first of SIGNALS only sets ``signal``; a second SIGINT interrupts at once.

    Of several ``ranks`` none is interrupted at once, which would leave the others waiting. SIGHUP stays ignored
    under nohup. For the main thread only.
    """

    def __init__(self, ranks: Ranks = ALONE) -> None:
        self.signal: signal.Signals | None = None
        self._ranks = ranks
        self._at_once = False

    def __enter__(self) -> Self:
        nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        heard = [name for name in SIGNALS if name != signal.SIGHUP or not nohup]
        self._before = {name: signal.signal(name, self._note) for name in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for name, handler in self._before.items():
            signal.signal(name, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        again = self.signal is not None and number == signal.SIGINT
        self.signal = signal.Signals(number)
        if self._at_once:
            raise StoppedError
        if again and self._ranks.count == 1:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self, alone: bool = False) -> Iterator[None]:
        """Inside, where nothing is changed that is to be saved, a signal raises StoppedError at once.

        Of several ranks only one that no other waits for, and is ``alone``, is stopped so.
        """
        self._at_once = alone or self._ranks.count == 1
        try:
            if self._at_once and self.signal is not None:
                raise StoppedError
            yield
        finally:
            self._at_once = False

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
