"""Numbers in the tables of documents: a comment above a table names the claims that its cells are filled in from.

``<!-- claims: {winners,raw}-{mnist-1,mnist-10} -->`` is for two rows of two numbers each, in reading order. Such a cell
holds a number to one decimal, maybe with its half width behind ``±``, or a ``?`` that is still to become one.
"""

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path

from experiment.report.claims import Claim, number

TABLE = re.compile(r"^<!-- claims:([^>]*)-->\n\n?((?:\|.*\n?)+)", re.MULTILINE)
CELL = re.compile(r"(?<=\| )(?:\?|[+-]?\d+\.\d(?: ± \d+\.\d)?)(?= +\|)")

APART = ("log", "reference", "results")
"""Folders of docs/ with records and with pages that are generated."""


def documents(root: Path) -> list[Path]:
    """The documents under ``root`` whose numbers are claims: guides and cards, not records nor what is generated."""
    pages = [page for folder in ("docs", "pretrained") for page in (root / folder).rglob("*.md")]
    pages = [page for page in pages if page.relative_to(root).parts[1] not in APART]
    return sorted([*root.glob("*.md"), *pages])


def filled(text: str, claims: Mapping[str, Claim], name: str) -> str:
    """``text`` with ``claims`` in its tables. Raises ValueError for unknown claims, and other numbers of cells."""

    def fill(found: re.Match[str]) -> str:
        names, cells = spelt_out(found[1]), CELL.findall(found[2])
        if unknown := [one for one in names if one not in claims]:
            raise ValueError(f"{name}: got claims {', '.join(unknown)}, expected ids of results/claims.yaml")
        if len(names) != len(cells):
            raise ValueError(f"{name}: got {len(cells)} numbers and {len(names)} claims in the table of{found[1]}")
        numbers = iter(names)
        return found[0].replace(found[2], CELL.sub(lambda _: cell(claims[next(numbers)]), found[2]))

    return TABLE.sub(fill, text)


def spelt_out(names: str) -> list[str]:
    """The ids in ``names``, where a-{b,c} stands for a-b and a-c, and the last of several braces changes fastest."""
    parts = [[part.split(",") for part in re.split("[{}]", name)] for name in names.split()]
    return ["".join(one) for name in parts for one in product(*name)]


def cell(claim: Claim) -> str:
    """The number of ``claim`` and its half width, to one decimal; a lead with its sign."""
    value = number(claim["value"], "+" if claim["unit"] == "points" else "")
    return value if claim["low"] is None else f"{value} ± {number((claim['high'] - claim['low']) / 2)}"
