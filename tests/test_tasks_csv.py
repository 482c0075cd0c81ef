"""Tables in text files: what their columns become, whatever the file was written by, and what is refused."""

import gzip
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from common.notice import Notice
from tasks.data.csv_source import read_csv
from tasks.data.raw import RawData
from tasks.data.sources import load_inputs, load_source
from tasks.data.table_columns import TableColumns


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return f"csv:{path}"


def read(tmp_path: Path, text: str | bytes, labelled: bool = False, **options: object) -> tuple[RawData, list[str]]:
    """The table and the notices that came with it."""
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (raw,) = read_csv(str(path), labelled, **options)  # type: ignore[arg-type]
    assert all(issubclass(one.category, Notice) for one in caught)
    return raw, [str(one.message) for one in caught]


def test_csv(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "\ufeffclass,a,b\n10,1.5,-2\n2,0,1e3\n\n10,3,4\n")
    (data,) = load_source(source, standardise=False)
    assert data.x.tolist() == [[1.5, -2], [0, 1000], [3, 4]]
    assert data.class_names == ("2", "10")
    assert data.y.tolist() == [1, 0, 1]
    inputs = load_inputs(source)
    assert inputs.x.tolist() == data.x.tolist()
    assert inputs.given is not None
    assert inputs.given.tolist() == [10, 2, 10]
    assert inputs.ids.tolist() == ["1", "2", "3"]


ROWS = "1.5,-2,x\n0,1000,y\n3,4,x\n"
WANTED = [[1.5, -2], [0, 1000], [3, 4]]


@pytest.mark.parametrize(
    ("text", "noticed"),
    [
        ("a,b,label\n" + ROWS, 0),
        ("a;b;label\n" + ROWS.replace(",", ";"), 0),
        ("a;b;label\n" + ROWS.replace(",", ";").replace(".", ","), 0),
        ("a\tb\tlabel\n" + ROWS.replace(",", "\t"), 0),
        ("a|b|label\n" + ROWS.replace(",", "|"), 0),
        ('"a", "b", "label"\n' + ROWS.replace(",", '", "').replace("\n", '"\n"')[:-1].join('"\n').rstrip("\n"), 0),
        ("a,b,label\n".encode("utf-16")[:2] + ("a,b,label\n" + ROWS).encode("utf-16-le"), 0),
        (("a,b,label\n" + ROWS).replace("\n", "\r\n").encode(), 0),
        (("a,b,label\n" + ROWS).replace("\n", "\r").encode(), 0),
        ("a,b,label\n\n   \n" + ROWS, 0),
        ("a,b,label\n# a remark\n" + ROWS, 1),
        ("a,b,label\n,,\n" + ROWS, 1),
        ("a,b,label,\n" + ROWS.replace("\n", ",\n"), 1),
        (ROWS, 2),  # no header, and the last column is taken for classes
        (",a,b,label\n7," + ROWS.replace("\n", "\n8,", 1).replace("\n3", "\n9,3"), 1),
        ("id,a,b,label\nu," + ROWS.replace("\n", "\nv,", 1).replace("\n3", "\nw,3"), 1),
        ("label,a,b\nx,1.5,-2\ny,0,1000\nx,3,4\n", 0),
    ],
)
def test_the_same_table_however_it_is_written(tmp_path: Path, text: str | bytes, noticed: int) -> None:
    if isinstance(text, str) and text.startswith('"'):
        text = "\n".join('"' + line.replace(",", '", "') + '"' for line in ("a,b,label\n" + ROWS).splitlines())
    raw, notices = read(tmp_path, text)
    assert raw.x.tolist() == WANTED
    assert raw.given is not None
    assert raw.given.tolist() == ["x", "y", "x"]
    assert len(notices) == noticed


def test_gzipped_and_latin_1(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(("a,b,label\n" + ROWS).encode()))
    assert read_csv(str(tmp_path / "t.csv.gz"), True)[0].x.tolist() == WANTED
    raw, notices = read(tmp_path, "a,label\n1,é\n2,ü\n".encode("latin-1"))
    assert raw.class_names == ("é", "ü")
    assert "not in UTF-8" in notices[0]


def test_what_columns_become(tmp_path: Path) -> None:
    text = (
        "size,colour,ok,day,share,people,label\n"
        'S,red,yes,2024-01-01,10%,"1,000",0\nM,,no,2024-01-02,20%,"2,500",1\n,red,yes,2024-03-01,5%,7,0\n'
    )
    raw, notices = read(tmp_path, text)
    assert raw.columns is not None
    assert [column.kind for column in raw.columns.columns] == [
        *("category", "category", "number", "date", "number", "number"),
    ]
    days = 19723.0  # of 2024-01-01 since 1970
    assert raw.x.tolist() == [
        # M, S, missing | red, missing | ok | days, day of the year, weekday (Monday 0), hour | share | people
        [0, 1, 0, 1, 0, 1, days, 1, 0, 0, 0.1, 1000],
        [1, 0, 0, 0, 1, 0, days + 1, 2, 1, 0, 0.2, 2500],
        [0, 0, 1, 1, 0, 1, days + 60, 61, 4, 0, 0.05, 7],
    ]
    assert ["commas between thousands" in notice for notice in notices] == [True]


def test_missing_numbers_become_the_median_and_are_marked(tmp_path: Path) -> None:
    for cell in ("", "NA", "?", "nan", "null"):
        raw, _ = read(tmp_path, f"a,b,label\n1,5,0\n2,{cell},1\n9,7,0\n4,9,1\n")
        assert raw.x.tolist() == [[1, 5, 0], [2, 7, 1], [9, 7, 0], [4, 9, 0]]


def test_examples_without_a_label_have_features_and_are_in_no_task(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "a,b,label\n1,0,x\n0,1,\n1,1,y\n")
    inputs = load_inputs(source)
    assert len(inputs.x) == 3
    assert inputs.given is not None
    assert inputs.given.tolist() == ["x", "", "y"]
    with pytest.warns(Notice, match="1 of 3 examples have no label"):
        (data,) = load_source(source)
    assert data.x.tolist() == [[1, 0], [1, 1]]


def test_the_class_column_can_be_named_and_none_is_taken_for_one_unsaid(tmp_path: Path) -> None:
    text = "kind,a,b\n" + "".join(f"{i % 2},{i + 0.5},{i * i / 7}\n" for i in range(8))
    raw, notices = read(tmp_path, text)
    assert raw.x.shape == (8, 3)
    assert raw.labels is None
    assert notices == []
    with pytest.raises(
        ValueError, match=r"no column called label, class, target or y; name the one of classes: csv:.*#COL"
    ):
        read(tmp_path, text, labelled=True)
    for options in ({"label": "kind"}, {}):
        location = str(tmp_path / "t.csv") + ("" if options else "#kind")
        (named,) = read_csv(location, True, **options)
        assert named.labels is not None
        assert named.labels.tolist() == [0, 1] * 4
        assert named.x.shape == (8, 2)
    _, notices = read(tmp_path, text.replace("kind,a,b", "a,b,kind").replace("0.5", "1"))
    assert notices == []
    whole = "a,kind\n" + "".join(f"{i / 7},{i % 2}\n" for i in range(8))
    raw, notices = read(tmp_path, whole)
    assert raw.x.shape == (8, 2)
    assert "the last column, 'kind', is an input; if it holds classes" in notices[0]
    raw, notices = read(tmp_path, whole, labelled=True)
    assert raw.x.shape == (8, 1)
    assert "classes are taken from the last column, 'kind'" in notices[0]
    (none,) = read_csv(str(tmp_path / "t.csv"), labelled=False, label="")
    assert none.labels is None
    assert none.x.shape == (8, 2)
    with pytest.raises(ValueError, match=r"got csv:.*#kind with --no-label, expected one of them"):
        read_csv(f"{tmp_path / 't.csv'}#kind", labelled=False, label="")


def test_free_text_becomes_pieces_of_words(tmp_path: Path) -> None:
    names = [f"{'Anna' if i % 2 else 'Bert'} number {i}" for i in range(60)]
    text = "a,name,label\n" + "".join(f"{i},{name},{i % 2}\n" for i, name in enumerate(names))
    raw, notices = read(tmp_path, text)
    assert raw.x.shape == (60, 31)
    assert "'name' holds 60 different texts; they become 30 inputs" in notices[0]
    pieces = raw.x[:, 1:]
    near, far = np.linalg.norm(pieces[1] - pieces[3]), np.linalg.norm(pieces[1] - pieces[2])
    assert near < far  # two Annas


def test_columns_are_applied_to_new_tables_by_name(tmp_path: Path) -> None:
    first, _ = read(tmp_path, "size,colour,label\n1,red,a\n3,blue,b\n2,red,a\n")
    assert first.columns is not None
    columns = TableColumns.from_json(json.loads(json.dumps(first.columns.to_json())))
    assert columns == first.columns
    new, notices = read(tmp_path, "extra,colour,size\nz,red,5\nz,green,1\nz,blue,\n", columns=columns)
    assert new.x.tolist() == [[5, 0, 1], [1, 0, 0], [2, 1, 0]]
    assert [part in notice for part, notice in zip(("extra", "missing values", "green"), notices, strict=True)] == [
        *(True, True, True),
    ]
    with pytest.raises(ValueError, match=r"no column 'size', expected size, colour as in .*t\.csv"):
        read(tmp_path, "colour\nred\nblue\n", columns=columns)
    with pytest.raises(ValueError, match="line 3, column 'size' is 'big', expected a number as in training"):
        read(tmp_path, "size,colour\n1,red\nbig,red\n", columns=columns)


def test_cells_that_look_like_numbers_stay_what_they_were_in_training(tmp_path: Path) -> None:
    first, _ = read(tmp_path, "code,share,label\n01,10%,a\nx,20%,b\ny,5%,a\n")
    new, _ = read(tmp_path, "code,share\ny,5%\n01,7%\n", columns=first.columns)
    assert new.x.tolist() == [[0, 0, 1, 0.05], [1, 0, 0, 0.07]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected a header"),
        ("a,b\n", "no rows"),
        ("a,b,y\n1,2,0\n1,2\n", "line 3 has 2 values, expected 3 as in the first line"),
        ('a,b,y\n"1\n",2,0\n1,2\n', "line 4 has 2 values, expected 3"),
        ("a,b,y\n1,2,0\n1,x,0\n1,3,0\n", "line 3, column 'b' is 'x', expected a number like the others"),
        ("a,b,y\n1,2,0\n1,1e999,0\n", "line 3 holds an infinite number"),
        ("label,b,Target\n1,2,0\n", "columns label, Target, expected one of classes only; name it: csv:.*#label"),
        ("a,label,label\n1,2,0\n", r"columns label, label \(2\), expected one of classes only"),
        ("y\n1\n", "only the class column 'y'"),
        ("a,y\n1,\x00\n" * 2, "not a text file of comma-separated values"),
        ("a,b,y\n,,0\n,,1\n", "no column holds a value"),
    ],
)
def test_bad_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text, labelled=True)


def test_values_beyond_float32_are_an_error_in_tasks(tmp_path: Path) -> None:
    source = write(tmp_path / "t.csv", "a,b,y\n1,2,0\n1,1e300,0\n")
    with pytest.raises(ValueError, match=r"csv:t\.csv: holds 1e\+300, too large for float32"):
        load_source(source, standardise=False)


def test_a_csv_without_a_header_is_not_shortened(tmp_path: Path) -> None:
    raw, notices = read(tmp_path, "1,2,0\n3,4,1\n5,6,0\n4,4,1\n", labelled=True)
    assert raw.x.tolist() == [[1, 2], [3, 4], [5, 6], [4, 4]]
    assert "has no header" in notices[0]
    years, notices = read(tmp_path, "2019,2020,2021\n1.5,2,0.5\n3.5,4,0\n5,6,1\n")
    assert years.x.tolist() == [[1.5, 2, 0.5], [3.5, 4, 0], [5, 6, 1]]
    assert ["is taken for titles of columns" in notice for notice in notices] == [True]


def test_class_names_may_be_numbers_of_any_size(tmp_path: Path) -> None:
    raw, _ = read(tmp_path, "a,b,label\n1,2,100000000000000000000\n3,4,7\n5,6,7\n")
    assert raw.class_names == ("100000000000000000000", "7")
    _, notices = read(tmp_path, "a,label\n1,True\n2,true\n3,False\n")
    assert "some classes differ only in how they are written: False, True, true" in notices[0]


def test_commas_and_dots_in_numbers_are_read_by_one_convention_in_a_file(tmp_path: Path) -> None:
    raw, notices = read(tmp_path, "a\tb\n0,123\t0,5\n0,456\t0,25\n1,789\t1,5\n")
    assert raw.x.tolist() == [[0.123, 0.5], [0.456, 0.25], [1.789, 1.5]]
    assert all("with a decimal comma" in notice for notice in notices)
    raw, _ = read(tmp_path, "a;b\n1.234,5;1\n2.345,6;2\n1.000,5;3\n")
    assert raw.x[:, 0].tolist() == [1234.5, 2345.6, 1000.5]
    with pytest.raises(ValueError, match="column 'a' is '1,5', expected a number like the others"):
        read(tmp_path, "a;b\n1,5;1\n2.5;2\n3.5;3\n")


def test_words_that_only_look_like_truth_values_or_dates_are_categories(tmp_path: Path) -> None:
    raw, _ = read(tmp_path, "a,b,label\nn,today,0\nf,now,1\nt,today,0\ny,now,1\n")
    assert raw.columns is not None
    assert [column.kind for column in raw.columns.columns] == ["category", "category"]


def test_columns_that_were_inputs_stay_inputs(tmp_path: Path) -> None:
    first, _ = read(tmp_path, "row,y,kind\n1,2,a\n1,3,b\n2,4,a\n", label="kind")
    new, _ = read(tmp_path, "row,y\n7,8\n", columns=first.columns)
    assert new.x.tolist() == [[7, 8]]


def test_fractions_are_no_classes_and_labels_stay_as_they_are_written(tmp_path: Path) -> None:
    raw, notices = read(tmp_path, "x (m),y (m)\n0.5,0.25\n1.5,0.75\n")
    assert (raw.x.shape, raw.labels) == ((2, 2), None)
    raw, notices = read(tmp_path, "x,y\n0.5,0.25\n1.5,0.75\n")
    assert raw.x.shape == (2, 2)
    assert "column 'y' holds fractions, so it is used as an input" in notices[0]
    raw, _ = read(tmp_path, "a,label\n1,01\n2,02\n3,01\n")
    assert raw.given is not None
    assert (raw.given.tolist(), raw.class_names) == (["01", "02", "01"], ("01", "02"))


def test_rows_are_named_by_a_column_wherever_it_stands(tmp_path: Path) -> None:
    first, notices = read(tmp_path, "size,id,label\n1,u,a\n3,v,b\n2,w,a\n")
    assert first.ids is not None
    assert (first.ids.tolist(), first.x.tolist()) == (["u", "v", "w"], [[1], [3], [2]])
    assert "the column 'id' only names the rows" in notices[0]
    new, _ = read(tmp_path, "id,size\nx,5\ny,6\n", columns=first.columns)
    assert new.ids is not None
    assert (new.ids.tolist(), new.x.tolist()) == (["x", "y"], [[5], [6]])


def test_a_label_column_that_becomes_an_input_is_said_so(tmp_path: Path) -> None:
    raw, notices = read(tmp_path, "kind,a,label\nu,1,0\nv,2,1\nu,3,0\n", label="kind")
    assert raw.x.shape == (3, 2)
    assert "column 'label' is an input, since the classes are those of 'kind'" in notices[0]


def test_flags_of_gaps_are_told_from_inputs_of_every_kind(tmp_path: Path) -> None:
    """The last input of each column that had gaps; none of a column without, or of one that is empty."""
    lines = [
        f"{i * 1.5},{'' if i == 2 else i * 7},{'' if i == 3 else f'2026-{i // 20 + 1:02}-{i % 20 + 1:02}'},"
        f"{'' if i == 4 else 'ab'[i % 2]},{'' if i == 5 else f'words of row {i * 37} and {i * 53} more'},"
        for i in range(60)
    ]
    raw, _ = read(tmp_path, "\n".join(["whole,number,date,kind,text,nothing", *lines]) + "\n")
    assert raw.columns is not None
    assert [column.kind for column in raw.columns.columns] == ["number", "number", "date", "category", "text", "empty"]
    flags = raw.columns.gap_flags()
    assert flags.shape == raw.x.shape[1:]
    assert raw.x[:, flags].T.tolist() == [[float(i == row) for i in range(60)] for row in (2, 3, 4, 5)]
