"""``csv:FILE`` and ``csv:FILE#COLUMN``: a table of text, one example a line; the column that holds the classes."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd

from common.notice import notice
from tasks.data.raw import Array, RawData, class_codes
from tasks.data.table_columns import TableColumns
from tasks.data.table_file import TableFile, is_number, read_table_file

LABEL_TITLES = frozenset({"label", "labels", "class", "target", "y"})
"""Titles, in lower case, of a column of classes where none is named."""

NO_LABEL = ["", "?", "NA", "N/A", "nan", "NaN"]
"""What stands where an example has no label."""

MOST_CLASSES = 100
"""Different values of a column that may be taken for classes without having been named."""


def read_csv(
    location: str, labelled: bool, label: str | None = None, columns: TableColumns | None = None
) -> list[RawData]:
    """The table in the text file at ``location``, float64 [n, D], read as ``columns`` say, or as suits it.

    The classes are in the column called ``label``, none where that is empty; or behind a # in ``location``; else in one
    of LABEL_TITLES; else, with a notice, in the last one, where it holds text, or with ``labelled`` whole numbers.
    Raises OSError if the file cannot be read, and ValueError for what is no table, for no inputs, and with
    ``labelled`` for no classes.
    """
    path, named = _column_named(location)
    file = read_table_file(path)
    inputs_then = set() if columns is None else {column.name for column in columns.columns}
    if label == "" and named is not None:
        raise ValueError(f"got csv:{location} with --no-label, expected one of them")
    wanted = named if label is None else label
    if wanted is None and columns is not None and columns.label and columns.label in file.titles:
        wanted = columns.label
    title = _class_column(file, wanted, labelled, inputs_then)
    if title is not None and len(file.titles) == 1:
        raise ValueError(f"{path}: only the class column {title!r}, expected columns of inputs too")
    named_by = file.ids({*inputs_then, title or ""})
    classes = [] if title is None else [title]
    cells = file.cells(as_text=[] if columns is None else columns.texts(), never_missing=classes)
    inputs = cells.drop(columns=classes + ([] if named_by is None else [named_by[0]]))
    fitted = columns or replace(TableColumns.fit(str(path), inputs, file.separator == ";"), label=title or "")
    x = fitted.inputs(str(path), inputs)
    infinite = np.argwhere(~np.isfinite(x))
    if len(infinite):
        raise ValueError(f"{path}: line {cells.index[infinite[0, 0]]} holds an infinite number, expected finite ones")
    ids = np.arange(1, len(x) + 1).astype(str) if named_by is None else named_by[1]
    name = f"csv:{path.name}"
    labels, class_names, given = (None, (), None) if title is None else _classes(name, cells[title])
    return [RawData(name, x, labels, class_names, given=given, ids=ids, columns=fitted)]


def _column_named(location: str) -> tuple[Path, str | None]:
    """The file that ``location`` names, and the column behind a #."""
    file, hash_sign, column = location.rpartition("#")
    return (Path(file), column) if hash_sign and not Path(location).exists() else (Path(location), None)


def _class_column(file: TableFile, named: str | None, labelled: bool, inputs_then: set[str]) -> str | None:
    """The title of the class column, None where there is none; no column that was an input before is one."""
    path = file.path
    if named == "":
        return None
    if named is not None:
        if named not in file.titles:
            raise ValueError(f"{path}: no column {named!r} for classes, it has {', '.join(file.titles)}")
        for title in file.titles:
            if title != named and title.lower() in LABEL_TITLES and not inputs_then:
                notice(f"{path}: column {title!r} is an input, since the classes are those of {named!r}")
        return named
    named_so = [title for title in file.titles if re.sub(r" \(\d+\)$", "", title.lower()) in LABEL_TITLES]
    found = [title for title in named_so if title not in inputs_then and not _fractions(file, title)]
    for title in set(named_so) - set(found) - inputs_then:
        notice(f"{path}: column {title!r} holds fractions, so it is used as an input and not as the class")
    if len(found) > 1:
        raise ValueError(
            f"{path}: columns {', '.join(found)}, expected one of classes only; name it: csv:{path}#{found[0]}"
        )
    if found or inputs_then:
        return next(iter(found), None)
    for last in reversed(file.titles):
        cells = file.column(last)
        values = cells[~cells.isin(NO_LABEL)]
        if not values.empty:
            break
    classes = values.unique()
    text = not any(is_number(value) for value in classes)
    whole = all(re.fullmatch(r"-?[0-9]+", value) for value in classes)
    if (text or whole) and len(classes) <= min(MOST_CLASSES, len(values) // 2 + 1):
        if text or labelled:
            other = "" if labelled else ", --no-label none"
            notice(f"{path}: classes are taken from the last column, {last!r}; csv:{path}#COLUMN names another{other}")
            return last
        notice(f"{path}: the last column, {last!r}, is an input; if it holds classes, name it: csv:{path}#{last}")
    if labelled:
        raise ValueError(
            f"{path}: no column called label, class, target or y; name the one of classes: csv:{path}#COLUMN"
        )
    return None


def _fractions(file: TableFile, title: str) -> bool:
    """Whether the column ``title`` holds numbers of which some are not whole."""
    cells = file.column(title)
    values = cells[~cells.isin(NO_LABEL)].unique()
    return all(is_number(value) for value in values) and any(float(value) % 1 != 0 for value in values)


def _classes(name: str, cells: "pd.Series[str]") -> tuple[Array | None, tuple[str, ...], Array | None]:
    """Codes int64 [n], -1 where a label is missing, the names they point to, and the labels as given."""
    given = cells.str.strip().to_numpy(dtype=str)
    known = ~np.isin(given, NO_LABEL)
    if not known.any():
        return None, (), None
    values: Array = given[known]
    classes = set(values.tolist())
    if len({Decimal(value) if is_number(value) else value.casefold() for value in classes}) < len(classes):
        notice(f"{name}: some classes differ only in how they are written: {', '.join(sorted(classes)[:8])}")
    if all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", value) for value in classes):  # written as numbers are, 01 is not
        values = values.astype(np.int64)  # so that 2 comes before 10
        given = values if known.all() else given
    codes, class_names = class_codes(name, values)
    labels = np.full(len(known), -1)
    labels[known] = codes
    return labels, class_names, given
