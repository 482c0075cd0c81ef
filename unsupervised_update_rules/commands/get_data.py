"""Bring or build the data sets that configs and pages name, once; they are then found by their names.

Data sets go to data/ in this folder, or to the folder that the environment variable UPDATE_RULES_DATA names. Beside
each a .json file says where it came from, its licence, and the checksums of what was fetched and built.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from tasks.data.named_source import data_folders
from tasks.data.recipes.contract import Recipe
from tasks.data.recipes.registry import RECIPES, find_recipe
from tasks.data.recipes.stored import build, state
from unsupervised_update_rules.commands.arguments import Parser
from unsupervised_update_rules.commands.terminal import print_table, progress

ALL = "all"


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(RECIPES)}, or {ALL}")
    parser.add_argument("--list", action="store_true", help="say what there is, and which of it is here")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments: each name once, in the order given."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    if bool(arguments.names) == arguments.list:
        parser.error(f"expected names of data sets, {ALL} or --list")
    names = list(RECIPES) if ALL in arguments.names else arguments.names
    arguments.recipes = {name: find_recipe(name) for name in names}
    return arguments


def here(recipe: Recipe, folder: Path) -> str:
    """In a word or two, which products of ``recipe`` lie in ``folder``."""
    states = {state(product, folder) for product in recipe.products}
    return next(one for one in ("damaged", "missing", "your own", "whole") if one in states)


def bring(name: str, recipe: Recipe, folder: Path) -> str:
    """Bring a data set if it is not there and whole; a line that says what was done.

    Raises OSError and ValueError as ``stored.build`` does.
    """
    found = here(recipe, folder)
    files = " and ".join(str(folder / f"{product}.npz") for product in recipe.products)
    if found == "whole":
        return f"{name}: {files} already there"
    if found == "your own":
        return f"{name}: {files} already there, but not by this command, so left as it is"
    if found == "damaged":
        print(f"{name}: {files} damaged, so built again")
    print(f"{name}: {recipe.summary}; licence: {recipe.licence}", flush=True)
    products = build(name, recipe, folder, progress)
    sizes = ", ".join(f"{product} {len(next(iter(arrays.values()))):,}" for product, arrays in products.items())
    return f"wrote {files} ({sizes} entries)"


def print_list(folder: Path) -> None:
    """All data sets, and whether they are in ``folder``."""
    table = Table("name", "what", "licence", f"in {folder}")
    for name in RECIPES:
        recipe = find_recipe(name)
        table.add_row(name, recipe.summary, recipe.licence, here(recipe, folder))
    print_table(table, width=180)


def main(argv: Sequence[str] | None = None) -> int:
    """Bring what was named, going on with the others where one cannot be had; then that is the error."""
    arguments = parse(argv)
    folder = data_folders()[0]
    if arguments.list:
        print_list(folder)
    failures = []
    for name, recipe in arguments.recipes.items():
        try:
            print(bring(name, recipe, folder), flush=True)
        except (OSError, ValueError) as error:
            failures.append(str(error))
    if failures:
        raise OSError("; ".join(failures))
    return 0
