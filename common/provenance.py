"""Where a result comes from: the commit of the code that made it."""

import subprocess
from functools import cache
from pathlib import Path


@cache  # of the code that runs, whatever becomes of the files meanwhile
def commit() -> str:
    """The git commit of this source tree, with ``+changes`` where files differ from it, or ``unknown`` outside git."""
    root = Path(__file__).parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"  # installed inside somebody else's repository
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
