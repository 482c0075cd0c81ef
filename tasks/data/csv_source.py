"""``csv:FILE``: a header and one example a line; the class is in a column named so, or in the last one."""

import contextlib
import csv
from pathlib import Path

import numpy as np

from tasks.data.raw import Array, RawData, class_codes

LABEL_COLUMNS = ("label", "class", "target")


def read_csv(location: str, labelled: bool) -> list[RawData]:
    """The table in the comma-separated file at ``location``: rows of numbers, and classes of any text.

    The class column is the one named ``label``, ``class`` or ``target`` (any case), else the last one. With
    ``labelled`` false, a table without such a name whose columns are all numbers has no class column. Raises OSError if
    the file cannot be read, ValueError, with the line, for rows of other lengths and for values that are no numbers.
    """
    path = Path(location)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [title.strip() for title in next(reader, [])]
            target = _class_column(path, header)
            inputs = [place for place in range(len(header)) if place != target]
            x: list[Array] = []
            classes: list[str] = []
            for row in filter(None, reader):
                if len(row) != len(header):
                    raise ValueError(
                        f"{path}: line {reader.line_num} has {len(row)} values, expected {len(header)} as in the header"
                    )
                x.append(_numbers(path, reader.line_num, [(header[place], row[place]) for place in inputs]))
                classes.append(row[target].strip())
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a text file of comma-separated values ({error})") from None
    if not x:
        raise ValueError(f"{path}: no rows, expected a header and at least one row")
    name = f"csv:{path.name}"
    rows = np.stack(x)
    if not labelled and header[target].lower() not in LABEL_COLUMNS:
        with contextlib.suppress(ValueError):  # the last column is one of numbers like the others
            last = np.array([float(text) for text in classes])
            return [RawData(name, np.column_stack([rows, last]))]
    if not inputs:
        raise ValueError(f"{path}: only the class column {header[target]!r}, expected columns of inputs too")
    values = np.array(classes)
    with contextlib.suppress(ValueError, OverflowError):
        values = values.astype(np.int64)  # so that 2 comes before 10
    labels, class_names = class_codes(name, values)
    return [RawData(name, rows, labels, class_names)]


def _class_column(path: Path, header: list[str]) -> int:
    """The place of the class column. Raises ValueError for an empty header or several columns that could be it."""
    if not header:
        raise ValueError(f"{path}: empty, expected a header and rows of comma-separated values")
    if all(_is_number(title) for title in header):
        raise ValueError(f"{path}: the first line is all numbers, expected a header with the names of the columns")
    named = [place for place, title in enumerate(header) if title.lower() in LABEL_COLUMNS]
    if len(named) > 1:
        raise ValueError(f"{path}: columns {', '.join(header[place] for place in named)}, expected one of classes only")
    return named[0] if named else len(header) - 1


def _numbers(path: Path, line: int, cells: list[tuple[str, str]]) -> Array:
    """The numbers in ``cells``, pairs of column and text. Raises ValueError that names the cell that is none."""
    try:
        return np.array([float(text) for _, text in cells])
    except ValueError:
        column, text = next(cell for cell in cells if not _is_number(cell[1]))
        raise ValueError(f"{path}: line {line}, column {column!r} is {text!r}, expected a number") from None


def _is_number(text: str) -> bool:
    with contextlib.suppress(ValueError):
        float(text)
        return True
    return False
