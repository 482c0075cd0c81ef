"""Write the page of results, with its tables and plots, from the JSON files that scripts/evaluate.py stored."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from evaluation.evaluation import InnerTraining
from evaluation.paired_tasks import PairedTask
from evaluation.receptive_fields import receptive_fields
from experiment.pages.results_page import write_page
from experiment.pages.stored_results import StoredResults, read_stored, rule_label
from tasks.data.sources import load_source
from tasks.task import TaskSource
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, threads, writable
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import PRETRAINED, load_rule

DOCS = Path(__file__).resolve().parents[2] / "docs"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=DOCS / "results", metavar="FOLDER", help="JSON files")
    parser.add_argument(
        "--beside", type=Path, metavar="FOLDER", help="JSON files with other base networks on the same tasks"
    )
    parser.add_argument("--page", type=Path, default=DOCS / "results.md", metavar="FILE.md", help="page to write")
    parser.add_argument("--title", default="Results", help="the page's heading (default Results)")
    parser.add_argument(
        "--rules",
        nargs="*",
        metavar="FILE",
        help="rules whose receptive fields and equation are shown (default: those in pretrained/ with results)",
    )
    parser.add_argument("--data", default="digits", metavar="SOURCE", help="images for receptive fields")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_hidden_layers(" there")
    parser.add_argument("--steps", type=at_least(1), default=100, metavar="K", help="inner steps there (default 100)")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    return parser.parse_args(argv)


def read_folder(folder: Path) -> StoredResults:
    """What is stored in ``folder``. Raises ValueError where there is nothing."""
    files = sorted(folder.glob("*.json"))
    if not files:
        raise ValueError(f"{folder}: no JSON files, expected results of scripts/evaluate.py --json")
    return read_stored(files)


def main(argv: Sequence[str] | None = None) -> int:
    """Read, pair and write."""
    arguments = parse(argv)
    writable(arguments.page)
    torch.set_num_threads(arguments.threads)
    stored = read_folder(arguments.results)
    beside = None if arguments.beside is None else read_folder(arguments.beside)
    names = arguments.rules
    if names is None:
        names = sorted(str(file) for file in PRETRAINED.glob("*.safetensors") if file.stem in stored.rules)
    rules = {rule_label(name): load_rule(name) for name in names}
    if len(rules) < len(names):
        raise ValueError(f"got --rules {' '.join(names)}, expected files or folders of different names")
    fields = {}
    if rules:
        datasets = tuple(load_source(arguments.data, size=arguments.size))
        task = PairedTask(TaskSource(datasets, 2, 1, 1, permute=True), 0, 0)
        inner = InnerTraining(tuple(arguments.hidden), activation=arguments.activation, steps=arguments.steps)
        for name, rule in rules.items():
            shown = receptive_fields(rule, task, inner)
            if shown is not None:
                fields[name] = shown
    equations = {name: rule for name, rule in rules.items() if isinstance(rule, Hebbian)}
    made = command("results_page", argv)
    write_page(
        arguments.page, stored, title=arguments.title, command=made, equations=equations, fields=fields, beside=beside
    )
    print(f"page: {arguments.page}")
    return 0
