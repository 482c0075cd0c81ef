"""What the user is told about something taken in a way that he or she may not expect."""

import sys
import warnings
from typing import TextIO


class Notice(UserWarning):
    """Something was done in a way that may not be expected; commands print it as one line."""


def notice(text: str) -> None:
    """Warn of ``text``, one sentence that names what it is about, what was done and what to do instead."""
    warnings.warn(text, Notice, stacklevel=3)


def show_notices() -> None:
    """Print notices from now on as ``note: ...`` on stderr, each once, other warnings as before."""
    show_others = warnings.showwarning
    shown: set[str] = set()  # Python forgets what it has shown whenever a filter changes

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, Notice):
            show_others(message, category, filename, lineno, file, line)
        elif str(message) not in shown:
            shown.add(str(message))
            print(f"note: {message}", file=sys.stderr)

    warnings.showwarning = show
