"""One writer a run: two processes in one run folder would mix their metrics and overwrite each other's checkpoints."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def run_lock(run_dir: Path) -> Iterator[None]:
    """Holds ``run_dir``, which is made if need be, until the process leaves or ends; nothing where there are no locks.

    Raises ValueError where another process holds it, and OSError where the folder cannot be made.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"{run_dir}: another process trains there now; wait for it, stop it, or set another run_dir"
            ) from None
        except OSError:
            pass
        yield
