"""The one place where a script's errors become a line on stderr and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

USAGE_ERROR = 2
INTERRUPTED = 130

NO_MEMORY = ("not enough memory", "can't allocate", "out of memory")
"""How PyTorch says so, on CPUs and on GPUs."""


def run(main: Callable[[], int]) -> NoReturn:
    """Call ``main`` and exit with what it returns.

    ValueError, OSError and a lack of memory are the user's to fix: one line ``error: ...`` on stderr and exit code 2.
    Ctrl-C exits with 130. With the environment variable ``UPDATE_RULES_TRACEBACK=1`` such errors keep their traceback.
    """
    try:
        code = main()
        sys.stdout.flush()  # so that a full disk or a closed pipe is reported here and not at shutdown
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("UPDATE_RULES_TRACEBACK") == "1" or not _is_the_users(error):
            raise
        message = " ".join(_text(error).split()) or type(error).__name__
        print(f"error: {message}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    sys.exit(code)


def _is_the_users(error: Exception) -> bool:
    """Whether ``error`` is about what was given. PyTorch reports a lack of memory as a RuntimeError of such a text."""
    return not isinstance(error, RuntimeError) or any(text in str(error) for text in NO_MEMORY)


def _text(error: Exception) -> str:
    """What ``error`` says; the system's own errors are put as the file and what is wrong with it."""
    if isinstance(error, RuntimeError | MemoryError):
        return "not enough memory for networks, images and batches of this size; take smaller ones"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}, expected a path that can be read or written as asked"
    return str(error)
