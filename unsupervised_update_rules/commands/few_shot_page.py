"""Write the tables of learned starts with and without labels from the JSON files that evaluate_few_shot.py stored.

What the page says above its first table heading stays as it is.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from common.atomic_file import atomic_write
from experiment.pages.few_shot_page import tables
from experiment.pages.few_shot_runs import read_runs
from unsupervised_update_rules.commands.arguments import Parser, command, writable

DOCS = Path(__file__).resolve().parents[2] / "docs"
FIRST = "## Claims"
"""The heading from which the page is written anew."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=DOCS / "results" / "few_shot", metavar="FOLDER")
    parser.add_argument("--page", type=Path, default=DOCS / "unsupervised-meta-learning.md", metavar="FILE.md")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, pair and write."""
    arguments = parse(argv)
    writable(arguments.page)
    files = sorted(arguments.results.glob("*.json"))
    if not files:
        raise ValueError(f"{arguments.results}: no JSON files, expected results of scripts/evaluate_few_shot.py --json")
    written = tables(read_runs(files))
    page: Path = arguments.page
    old = page.read_text(encoding="utf-8") if page.exists() else "# Learning without labels\n"
    before = old.partition(f"\n{FIRST}\n")[0].rstrip() + "\n\n"
    note = f"Everything from here on is written by `{command('few_shot_page', argv)}`; do not edit.\n\n"
    with atomic_write(page) as file:
        file.write((before + written.replace(FIRST, f"{FIRST}\n\n{note.rstrip()}", 1) + "\n").encode())
    print(f"page: {page}")
    return 0
