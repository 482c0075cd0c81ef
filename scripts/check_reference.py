# python scripts/check_reference.py FILE.npz ...
"""Check this program against stored arrays of the original rule."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # what is not installed lies beside this folder

from benchmarks.original import command
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(command.main)
