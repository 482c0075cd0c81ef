# python scripts/benchmark.py [WORKLOAD ...] [--json]
# python scripts/benchmark.py --device cuda --error
"""Time the fixed workloads: this program beside a naive loop and JAX, and all beside the arithmetic they need."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # what is not installed lies beside this folder

from benchmarks import command
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(command.main)
