"""Keep a run's held-out accuracy against outer steps and time, for the page that scripts/results_page.py writes."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from common.atomic_file import atomic_write
from experiment.pages.training_curve import best, mean_held_out, training_curve
from unsupervised_update_rules.commands.arguments import Parser, writable


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, metavar="FOLDER", help="run folder of meta_train.py")
    parser.add_argument("--json", required=True, type=Path, metavar="FILE", help="write the curve here")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the run and write its curve."""
    arguments = parse(argv)
    writable(arguments.json)
    curve = training_curve(arguments.run)
    with atomic_write(arguments.json) as file:
        file.write((json.dumps({"training": curve}, indent=1) + "\n").encode())
    place = best(curve)
    accuracy, outer_step = mean_held_out(curve)[place], curve["outer_steps"][place]
    print(f"best: {100 * accuracy:.1f} % after outer step {outer_step}; curve: {arguments.json}")
    return 0
