"""How the columns of a table become inputs: chosen on one table, applied to others by the names of columns."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeAlias

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.preprocessing import OneHotEncoder

from common.notice import notice
from tasks.data.raw import Array
from tasks.data.table_file import MISSING, is_number

TRUTH = {"true": "1", "false": "0", "yes": "1", "no": "0", "t": "1", "f": "0", "y": "1", "n": "0"}
PAIRS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"})
"""Words for true and false; a column holds both of one pair."""

Texts: TypeAlias = pd.Series
"""Cells of one column, indexed by their line."""

NUMBERS: dict[str, tuple[str, Callable[[Texts], Texts]]] = {
    "plain": (r".*", lambda texts: texts),
    "true or false": ("(?i)" + "|".join(TRUTH), lambda texts: texts.str.lower().map(TRUTH)),
    "percent": (r"[-+]?\d+(\.\d+)?\s*%", lambda texts: texts.str.rstrip("% ") + "e-2"),
    "thousands": (r"[-+]?([1-9]\d{0,2}(,\d{3})*|0)(\.\d+)?", lambda texts: texts.str.replace(",", "")),
    "decimal comma": (r"[-+]?\d*,?\d*(e[-+]?\d+)?", lambda texts: texts.str.replace(",", ".")),
    "dots, decimal comma": (
        r"[-+]?([1-9]\d{0,2}(\.\d{3})*|0)(,\d+)?",
        lambda texts: texts.str.replace(".", "").str.replace(",", "."),
    ),
}
"""Ways to write numbers: what each cell must look like, and how cells become numbers as Python writes them."""

FORMS = {
    "thousands": "commas between thousands",
    "decimal comma": "a decimal comma",
    "dots, decimal comma": "dots between thousands and a decimal comma",
}
"""Those that are told of, in words."""

DATES = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "ISO8601",
)
"""Ways to write dates, as ``pandas.to_datetime`` takes them."""

CATEGORIES = 40
"""A column of text with more different values is taken for free text."""

PIECES = 30
"""Inputs that a column of free text becomes."""


@dataclass(frozen=True)
class Column:
    """How one column becomes inputs. ``kind`` is number, date, category, text or empty.

    ``form`` is a key of NUMBERS or one of DATES; ``categories`` the values that have an input each; ``fill`` what
    stands for a missing number or date; ``gaps`` whether an input says where values were missing.
    """

    name: str
    kind: str
    form: str = ""
    categories: tuple[str, ...] = ()
    fill: float = 0.0
    gaps: bool = False


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table that become inputs, in the order of the inputs."""

    source: str
    columns: tuple[Column, ...]
    label: str = ""
    """The column of classes there, if any, which becomes no input."""

    @classmethod
    def fit(cls, source: str, cells: pd.DataFrame, decimal_comma: bool = False) -> Self:
        """Columns that suit ``cells``, numbers or texts indexed by their line in ``source``, NaN where none is.

        Numbers stay one input each; dates become days since 1970, day of the year, weekday and hour; a category becomes
        an input for each value; free text, hashed pieces of words. ``decimal_comma`` says what 1,234 is. Raises
        ValueError for a cell that is no number among numbers, and where no column holds values.
        """
        either = decimal_comma or any(_has_decimal_comma(cells[name]) for name in cells)
        told = FORMS.keys() - ({"decimal comma"} if decimal_comma else set())
        columns = tuple(_fitted(source, str(name), cells[name], either, told) for name in cells)
        if all(column.kind == "empty" for column in columns):
            raise ValueError(f"{source}: no column holds a value that could be an input")
        return cls(source, columns)

    def texts(self) -> list[str]:
        """The columns that must be read as they are written, whatever another table has in them."""
        return [column.name for column in self.columns if column.kind != "empty" and column.form != "plain"]

    def inputs(self, source: str, cells: pd.DataFrame) -> Array:
        """The inputs float64 [n, D] of ``cells``, by the names of their columns.

        Raises ValueError for a missing column and for values of another kind than the column had.
        """
        absent = [column.name for column in self.columns if column.name not in cells]
        if absent:
            raise ValueError(
                f"{source}: no column {absent[0]!r}, expected {', '.join(column.name for column in self.columns)} "
                f"as in {self.source}"
            )
        known = {column.name for column in self.columns}
        more = [str(name) for name in cells if name not in known]
        if more:
            notice(f"{source}: columns that {self.source} does not have are left out: {', '.join(more)}")
        return np.column_stack([_inputs(source, column, cells[column.name]) for column in self.columns])

    def gap_flags(self) -> Array:
        """Of each input whether it only says where values of a column were missing, [D]."""
        widths = {"number": 1, "date": 4, "text": PIECES, "empty": 0}
        flags = [
            [False] * widths.get(column.kind, len(column.categories))
            + [True] * (column.gaps and column.kind != "empty")
            for column in self.columns
        ]
        return np.array([flag for some in flags for flag in some])

    def to_json(self) -> dict[str, Any]:
        """Plain lists and values, for ``from_json``."""
        return {"source": self.source, "columns": [asdict(column) for column in self.columns], "label": self.label}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """What ``to_json`` made. Raises KeyError, TypeError or ValueError for anything else."""
        names = {field.name for field in fields(Column)}
        if any(set(column) != names for column in said["columns"]):
            raise ValueError(f"columns with other keys than {', '.join(sorted(names))}")
        columns = (Column(**(column | {"categories": tuple(column["categories"])})) for column in said["columns"])
        return cls(str(said["source"]), tuple(columns), str(said.get("label", "")))


def _has_decimal_comma(cells: Texts) -> bool:
    """Whether ``cells`` are numbers whose commas can be no commas between thousands."""
    if pd.api.types.is_numeric_dtype(cells):
        return False
    found = _numbers("decimal comma", _present(cells))
    return found is not None and not found.empty and _numbers("thousands", _present(cells)) is None


def _present(cells: Texts) -> Texts:
    """The cells that hold a value, as texts without spaces around them, or as they are if they are numbers."""
    if pd.api.types.is_bool_dtype(cells):
        return cells.astype(str)
    if pd.api.types.is_numeric_dtype(cells):
        return cells[cells.notna()]
    texts = cells[cells.notna()].astype(str).str.strip()
    return texts[~texts.isin(MISSING)]


def _fitted(source: str, name: str, cells: Texts, decimal_comma: bool, told: Collection[str]) -> Column:
    """How the column ``cells`` called ``name`` becomes inputs; that it is in one of the forms ``told`` is noticed."""
    present = _present(cells)
    gaps = len(present) < len(cells)
    if present.empty:
        notice(f"{source}: column {name!r} holds no values and is left out")
        return Column(name, "empty")
    for form in NUMBERS:
        values = None if form == "thousands" and decimal_comma else _numbers(form, present)
        if values is not None:
            if form in told:
                notice(f"{source}: column {name!r} is read as numbers with {FORMS[form]}, as in {present.iloc[0]!r}")
            return Column(name, "number", form, fill=float(values.median()), gaps=gaps)
    plain = present.map(is_number)
    if plain.mean() > 0.5 or present.str.fullmatch(r"[-+]?[\d.,]*\d[\d.,]*").all():
        line = plain.idxmin()
        raise ValueError(
            f"{source}: line {line}, column {name!r} is {present[line]!r}, expected a number like the others; "
            "leave the cell empty where the value is missing"
        )
    forms = [form for form in DATES if _dates(form, present) is not None]
    if forms:
        if {"%m/%d/%Y", "%d/%m/%Y"} <= set(forms):
            notice(f"{source}: column {name!r} is read as month/day/year, as in {present.iloc[0]!r}")
        days = _dates(forms[0], present)
        assert days is not None
        return Column(name, "date", forms[0], fill=float(days.median()), gaps=gaps)
    distinct = sorted(present.unique())
    if len(distinct) <= CATEGORIES:
        return Column(name, "category", categories=tuple(distinct), gaps=gaps)
    notice(
        f"{source}: column {name!r} holds {len(distinct)} different texts; they become {PIECES} inputs by the "
        "sequences of letters that they share"
    )
    return Column(name, "text", gaps=gaps)


def _inputs(source: str, column: Column, cells: Texts) -> Array:
    """The inputs float64 [n, d] of one column."""
    if column.kind == "empty":
        return np.empty((len(cells), 0))
    present = _present(cells)
    gaps = ~cells.index.isin(present.index)
    flag = gaps.astype(np.float64)[:, None] if column.gaps else np.empty((len(cells), 0))
    if gaps.any() and not column.gaps:
        notice(f"{source}: column {column.name!r} has missing values, which it had not in training")
    if column.kind in ("category", "text"):
        texts = present.astype(str).reindex(cells.index, fill_value="").to_numpy(dtype=object)
        return np.column_stack([_coded(source, column, texts), flag])
    read = _numbers if column.kind == "number" else _dates
    found = read(column.form, present)
    if found is None:
        wrong = next(line for line in present.index if read(column.form, present[[line]]) is None)
        raise ValueError(
            f"{source}: line {wrong}, column {column.name!r} is {present[wrong]!r}, expected a {column.kind} as in "
            f"training ({column.form})"
        )
    values = found.reindex(cells.index, fill_value=column.fill)
    return np.column_stack([values if column.kind == "number" else _calendar(values), flag])


def _coded(source: str, column: Column, texts: Array) -> Array:
    """The inputs float64 [n, d] of ``texts`` [n], the empty one where a value is missing."""
    if column.kind == "text":
        pieces = HashingVectorizer(analyzer="char_wb", ngram_range=(2, 4), n_features=PIECES, alternate_sign=False)
        return np.asarray(pieces.transform(texts).toarray())
    unknown = sorted(set(texts) - {"", *column.categories})
    if unknown:
        notice(f"{source}: column {column.name!r} has values that were not there in training: {', '.join(unknown[:5])}")
    encoder = OneHotEncoder(categories=[list(column.categories)], handle_unknown="ignore", sparse_output=False)
    encoder.fit(np.array(column.categories, dtype=object)[:, None])
    return np.asarray(encoder.transform(texts[:, None]))


def _numbers(form: str, cells: Texts) -> Texts | None:
    """``cells``, none missing, as float64, or None where one of them is not written in ``form``."""
    if pd.api.types.is_numeric_dtype(cells):
        return cells.astype(np.float64) if form == "plain" else None
    pattern, plainly = NUMBERS[form]
    if form == "true or false" and not any(set(cells.str.lower()) <= pair for pair in PAIRS):
        return None
    if form != "plain" and not cells.str.fullmatch(pattern).all():
        return None
    try:
        return plainly(cells).astype(object).map(float)  # as Python reads them, to the last digit
    except ValueError:
        return None


def _dates(form: str, cells: Texts) -> Texts | None:
    """``cells``, none missing, as days since 1970, float64, or None where one of them is not written in ``form``."""
    if not cells.astype(str).str.contains(r"\d").all():
        return None  # pandas takes "today" for a date
    try:
        dates = pd.to_datetime(cells, format=form, utc=True)
    except (ValueError, OverflowError):
        return None
    return (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)


def _calendar(days: Texts) -> Array:
    """Days since 1970, day of the year, weekday (Monday 0) and hour, float64 [n, 4]."""
    dates = pd.to_datetime(days * 86400, unit="s", utc=True).dt
    return np.column_stack([days, dates.day_of_year, dates.day_of_week, dates.hour + dates.minute / 60]).astype(
        np.float64
    )
