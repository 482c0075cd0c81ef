"""What ``scripts/check_reference.py`` does: prints the worst relative error of every group of arrays, and its limit.

Exits with 0 if all are within their limits, 1 if not, 2 for a file that cannot be checked.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.original.check import check_file, figures
from unsupervised_update_rules.commands.arguments import Parser


def main(argv: Sequence[str] | None = None) -> int:
    """Check the files named in ``argv`` and print a table for each; the exit code."""
    parser = Parser(description="Check this program against stored arrays of the original rule.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz", help="arrays in the original's names")
    passed = True
    for path in parser.parse_args(argv).files:
        result = check_file(path)
        print(figures(result), flush=True)
        passed &= result.passed
    print("all within limits" if passed else "FAIL: errors beyond their limits")
    return 0 if passed else 1
