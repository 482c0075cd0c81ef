# python scripts/convert_rule.py FILE.npz RULE.safetensors
"""Make a rule file of the weights that the original release of Metz et al. (2019) published."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # what is not installed lies beside this folder

from benchmarks.original import convert
from unsupervised_update_rules.commands.entry import run

if __name__ == "__main__":
    run(convert.main)
