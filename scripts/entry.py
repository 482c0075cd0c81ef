"""The one place where a script's errors become a line on stderr and an exit code."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

USAGE_ERROR = 2
INTERRUPTED = 130


def run(main: Callable[[], int]) -> NoReturn:
    """Call ``main`` and exit with what it returns.

    ValueError and OSError are the user's to fix: one line ``error: ...`` on stderr and exit code 2. Ctrl-C exits with
    130. With the environment variable ``UPDATE_RULES_TRACEBACK=1`` such errors keep their traceback.
    """
    try:
        code = main()
        sys.stdout.flush()  # so that a full disk or a closed pipe is reported here and not at shutdown
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (ValueError, OSError) as error:
        if os.environ.get("UPDATE_RULES_TRACEBACK") == "1":
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        print(f"error: {message}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    sys.exit(code)
