"""The text file of a table: its encoding, separator, header and rows, and the column that only names the rows."""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from common.notice import notice
from tasks.data.raw import Array

SEPARATORS = "\t;|,"
"""Which are tried, in this order: text has commas in it more often than the others."""

FIRST = 50
"""Rows from which separator and header are told."""

LONGEST_CELL = 2**31 - 1
"""Characters; Python's own limit is below what a cell of a real table may hold."""

MISSING = ("", "NA", "N/A", "#N/A", "n/a", "na", "NaN", "nan", "NAN", "NaT", "NULL", "null", "None", "none", "?")
"""Cells of inputs that hold no value."""

ID_TITLES = frozenset({"", "id", "index", "row", "row_id", "rownames", "unnamed: 0"})
"""Titles, in lower case, of a column that names the rows where all of its values differ; no title is of the first."""


@dataclass(frozen=True, eq=False)
class TableFile:
    """The text of a table whose rows all have a cell for each of ``titles``; ``lines`` are the rows' line numbers."""

    path: Path
    separator: str
    titles: tuple[str, ...]
    has_header: bool
    lines: tuple[int, ...]
    text: str

    def cells(self, as_text: Collection[str] = (), never_missing: Collection[str] = ()) -> pd.DataFrame:
        """The cells, indexed by line: numbers where a column holds no others, else text; NaN where one is MISSING.

        Columns ``as_text`` stay as written; of columns ``never_missing`` so do the cells that are MISSING elsewhere.
        """
        return self._read(
            dtype={title: str for title in {*as_text, *never_missing} if title in self.titles},
            na_values={title: list(MISSING) for title in self.titles if title not in never_missing},
        )

    def column(self, title: str) -> pd.Series:
        """The cells of one column as they are written, without spaces around them."""
        return self._read(dtype=str, usecols=[title])[title].str.strip()

    def _read(self, **how: Any) -> pd.DataFrame:
        frame = pd.read_csv(
            StringIO(self.text),
            sep=self.separator,
            header=0 if self.has_header else None,
            names=list(self.titles),
            index_col=False,
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            **how,
        )
        return frame.set_axis(pd.Index(self.lines), axis=0)

    def ids(self, others: Collection[str]) -> tuple[str, Array] | None:
        """The title of the column that only names the rows, and its texts [n]; None where there is none.

        It is none of ``others``. Its title says so, or it is the first and has none; no name is missing, all differ,
        and none is a fraction.
        """
        for place, title in enumerate(self.titles, 1):
            called = "" if title == f"column {place}" else title.lower()
            if title in others or called not in ID_TITLES or not (called or place == 1) or not self.has_header:
                continue
            column = self.column(title)
            fractions = any(is_number(cell) and not cell.lstrip("-").isdigit() for cell in column)
            if len(self.titles) > 1 and column.is_unique and not (fractions or (column == "").any()):
                notice(f"{self.path}: the column {title!r} only names the rows; it is no input")
                return title, column.to_numpy(dtype=str)
        return None


def read_table_file(path: Path) -> TableFile:
    """The table in the text file at ``path``, plain or gzipped, of one of SEPARATORS.

    Blank lines, comments and rows of nothing are left out, the last two with a notice. Raises OSError if the file
    cannot be read; ValueError, with the line, for what is no table, rows of other lengths, and no rows.
    """
    lines = list(StringIO(_text(path), newline=None))
    separator = _separator(lines)
    limit = csv.field_size_limit(LONGEST_CELL)
    first: list[list[str]] = []
    kept: list[str] = []
    numbers: list[int] = []
    comments: list[int] = []
    empty: list[int] = []
    start = 0
    try:
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        for row in reader:
            begin, start = start, reader.line_num
            if not any(cell.strip() for cell in row):
                empty += [begin + 1] if len(row) > 1 else []
                continue
            if row[0].startswith("#") and len(row) == 1 and (not first or len(first[0]) > 1):
                comments.append(begin + 1)
                continue
            if first and len(row) != len(first[0]):
                values = "1 value" if len(row) == 1 else f"{len(row)} values"
                raise ValueError(
                    f"{path}: line {begin + 1} has {values}, expected {len(first[0])} as in the first line"
                )
            if len(first) < FIRST:
                first.append([cell.strip() for cell in row])
            kept += lines[begin:start]
            numbers.append(begin + 1)
    except csv.Error as error:
        raise ValueError(f"{path}: not a text file of comma-separated values ({error})") from None
    finally:
        csv.field_size_limit(limit)
    if not first:
        raise ValueError(f"{path}: empty, expected a header and rows of comma-separated values")
    for left_out, what in ((comments, "comments, as they begin with #"), (empty, "without a value")):
        if left_out:
            notice(f"{path}: {len(left_out)} lines are left out, {what}; the first is line {left_out[0]}")
    has_header = _has_header(first)
    if not has_header:
        notice(f"{path}: has no header; columns are called column 1, column 2 and so on")
    elif len(numbers) > 1 and all(is_number(title) for title in first[0]):
        notice(f"{path}: the first line, {', '.join(first[0][:3])} and so on, is taken for titles of columns")
    if has_header and len(numbers) == 1:
        raise ValueError(f"{path}: no rows, expected a header and at least one row")
    titles = first[0] if has_header else [""] * len(first[0])
    return TableFile(path, separator, _different(titles), has_header, tuple(numbers[has_header:]), "".join(kept))


def _text(path: Path) -> str:
    """The text in ``path``. Raises ValueError for a damaged archive and for what is no text."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error})") from None
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        if not wide and b"\0" in data:
            raise ValueError("it has zero bytes")
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise ValueError(f"{path}: not a text file of comma-separated values ({error})") from None
    except ValueError as error:
        raise ValueError(f"{path}: not a text file of comma-separated values ({error})") from None
    notice(f"{path}: is not in UTF-8; read as Latin-1, as older programs write it")
    return data.decode("latin-1")


def _separator(lines: list[str]) -> str:
    """The one of SEPARATORS that gives most of the first lines as many values as the first has, more than one."""
    some = [line for line in lines[: 2 * FIRST] if line.strip()][:FIRST]
    best, most = ",", 0
    for separator in SEPARATORS:
        widths = Counter(line.count(separator) for line in some)
        width = some[0].count(separator) if some else 0
        if width and widths[width] > most:
            best, most = separator, widths[width]
    return best


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first of ``rows`` holds titles: not where each column of numbers has a number there too.

    Numbers may be titles where they count on by one, as 0, 1, 2 or 2019, 2020, and the next row's do not.
    """
    first, rest = rows[0], rows[1:]
    columns = list(zip(*rest, strict=True)) if rest else [(cell,) for cell in first]
    numeric = [place for place, column in enumerate(columns) if all(is_number(cell) for cell in column if cell)]
    numeric = [place for place in numeric if any(columns[place])]
    if not numeric or not all(is_number(first[place]) for place in numeric):
        return bool(rest) or not any(is_number(cell) for cell in first)
    titles = [first[place] for place in numeric]
    return bool(rest) and _counts_on(titles) and not _counts_on([rest[0][place] for place in numeric])


def _counts_on(cells: list[str]) -> bool:
    """Whether ``cells`` are two or more whole numbers, each one more than the one before."""
    return (
        len(cells) > 2
        and all(cell.isdigit() for cell in cells)
        and [int(cell) for cell in cells] == list(range(int(cells[0]), int(cells[0]) + len(cells)))
    )


def is_number(text: str) -> bool:
    """Whether ``text`` is a number as Python writes it, infinite ones and not-a-number among them."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _different(titles: list[str]) -> tuple[str, ...]:
    """``titles``, the second of one name called ``name (2)``, and those without one called by their place."""
    seen: Counter[str] = Counter()
    made = []
    for place, title in enumerate(titles, 1):
        name = title or f"column {place}"
        seen[name] += 1
        while seen[name] > 1 and f"{name} ({seen[name]})" in titles:
            seen[name] += 1
        made.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(made)
