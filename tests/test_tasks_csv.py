"""Tables in files of comma-separated values, right and wrong ones."""

from pathlib import Path

import pytest

from tasks.data.sources import load_inputs, load_source


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return f"csv:{path}"


def test_csv(tmp_path):
    source = write_csv(tmp_path / "t.csv", "\ufeffclass,a,b\n10,1.5,-2\n2,0,1e3\n\n10,3,4\n")
    (data,) = load_source(source)
    assert data.x.tolist() == [[1.5, -2], [0, 1000], [3, 4]]
    assert data.class_names == ("2", "10")
    assert data.y.tolist() == [1, 0, 1]
    assert load_inputs(source)[0].tolist() == data.x.tolist()


def test_csv_class_in_the_last_column(tmp_path):
    (data,) = load_source(write_csv(tmp_path / "t.csv", "a,b,kind\n1,2,dog\n3,4,cat\n"))
    assert data.class_names == ("cat", "dog")
    assert data.x.tolist() == [[1, 2], [3, 4]]


def test_csv_without_labels(tmp_path):
    source = write_csv(tmp_path / "t.csv", "a,b,c\n1,2,0.5\n3,4,7\n")
    inputs, shape = load_inputs(source)
    assert inputs.tolist() == [[1, 2, 0.5], [3, 4, 7]]
    assert shape is None
    assert load_source(source)[0].inputs == 2
    text = write_csv(tmp_path / "u.csv", "a,b,kind\n1,2,dog\n")
    assert load_inputs(text)[0].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty, expected a header"),
        ("a,b\n", "no rows"),
        ("a,b,y\n1,2,0\n1,2\n", "line 3 has 2 values, expected 3 as in the header"),
        ("a,b,y\n1,2,0\n1,x,0\n", "line 3, column 'b' is 'x', expected a number"),
        ("a,b,y\n1,,0\n", "column 'b' is '', expected a number"),
        ("a,b,y\n1,nan,0\n1,1e999,0\n1,1e300,0\n", r"csv:t\.csv: 3 of 6 input values are NaN or infinite"),
        ("label,b,Target\n1,2,0\n", "columns label, Target, expected one of classes only"),
        ("y\n1\n", "only the class column 'y'"),
        ("a,y\n1,\x00\xff\n" * 2, "column 'a' is 'a'"),
    ],
)
def test_bad_csv(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_source(write_csv(tmp_path / "t.csv", text))


def test_csv_that_is_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    with pytest.raises(ValueError, match=r"t\.csv: not a text file of comma-separated values"):
        load_source(f"csv:{tmp_path / 't.csv'}")


def test_a_csv_without_a_header_is_refused_and_not_shortened(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    path.write_text("1,2,0\n3,4,1\n5,6,0\n", encoding="utf-8")
    with pytest.raises(ValueError, match="the first line is all numbers, expected a header"):
        load_source(f"csv:{path}")


def test_class_names_may_be_numbers_of_any_size(tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text("a,b,label\n1,2,100000000000000000000\n3,4,7\n5,6,7\n", encoding="utf-8")
    assert load_source(f"csv:{path}")[0].classes == 2
