# python scripts/training_curve.py --run runs/neuron_local_glyphs --json docs/results/training_neuron_local_glyphs.json
"""Keep a run's held-out accuracy against outer steps and time, for the page that scripts/results_page.py writes."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from outer_loop.training_curve import best, mean_held_out, training_curve
from scripts.arguments import Parser, writable
from scripts.entry import run
from update_rules.atomic_file import atomic_write


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


if __name__ == "__main__":
    run(main)
