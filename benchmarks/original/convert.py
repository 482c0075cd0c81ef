"""What ``scripts/convert_rule.py`` does: make a rule file of the original release's weights.

TensorFlow is not needed here. Where it is installed, it writes the arrays of a checkpoint under their names:

    reader = tensorflow.train.load_checkpoint(FOLDER)
    numpy.savez(FILE, **{name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()})
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.original.check import load_arrays
from benchmarks.original.names import RULE_PREFIX, rule_from_arrays
from unsupervised_update_rules.commands.arguments import Parser, keeps, writable
from update_rules.rule_file import save_rule

RATE = 1e-4
"""The inner rate of the original."""


def rate(text: str) -> float:
    """A type for an argument: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Write the rule file; the exit code."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "arrays", type=Path, metavar="FILE.npz", help=f"arrays called {RULE_PREFIX}... as in the release"
    )
    parser.add_argument("out", type=Path, metavar="RULE.safetensors", help="the rule file to write")
    parser.add_argument(
        "--learning-rate", type=rate, default=RATE, metavar="R", help=f"of inner steps (default {RATE})"
    )
    given = parser.parse_args(argv)
    writable(given.out)
    keeps(given.arrays, out=given.out)
    rule = rule_from_arrays(load_arrays(given.arrays), given.learning_rate, torch.float32)
    numbers = sum(value.numel() for value in rule.parameters())
    save_rule(given.out, rule, {"converted_from": given.arrays.name})
    print(f"wrote {given.out}: rule metz of {numbers:,} numbers")
    return 0
