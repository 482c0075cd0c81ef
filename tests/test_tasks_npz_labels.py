"""Arrays as other programs store them: which are x and y, and what labels and parts they state."""

from pathlib import Path

import numpy as np
import pytest

from common.notice import Notice
from tasks.data.npz_source import read_npz
from tasks.data.raw import RawData
from tasks.data.sources import load_inputs, load_source

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = np.array([2, 0, 1, 1, 0, 2])
IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)


def read(tmp_path: Path, **arrays: object) -> RawData:
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    (raw,) = read_npz(str(tmp_path / "a.npz"))
    return raw


def labels_of(raw: RawData) -> tuple[list[int], tuple[str, ...], list[object]]:
    assert raw.labels is not None
    assert raw.given is not None
    return raw.labels.tolist(), raw.class_names, raw.given.tolist()


CODES = Y.tolist()
LABELS = {
    "integers": (Y, CODES, ("0", "1", "2"), CODES),
    "big-endian": (Y.astype(">i8"), CODES, ("0", "1", "2"), CODES),
    "whole floats": (Y.astype(float), CODES, ("0", "1", "2"), CODES),
    "[n, 1]": (Y[:, None], CODES, ("0", "1", "2"), CODES),
    "texts": (np.array(list("abc"))[Y], CODES, ("a", "b", "c"), list("cabbac")),
    "bytes": (np.array(["ä".encode(), b"b", b"c"])[Y], [1, 2, 0, 0, 2, 1], ("b", "c", "ä"), list("cäbbäc")),
    "bool": (Y > 0, [1, 0, 1, 1, 0, 1], ("False", "True"), (Y > 0).tolist()),
    "uint64": (Y.astype(np.uint64) + np.uint64(2**63), CODES, None, [2**63 + y for y in CODES]),
    "-1 and 1": (np.where(Y == 0, -1, 1), [1, 0, 1, 1, 0, 1], ("-1", "1"), np.where(Y == 0, -1, 1).tolist()),
    "all below 0": (Y - 5, CODES, ("-5", "-4", "-3"), (Y - 5).tolist()),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_of_any_type(tmp_path: Path, case: str) -> None:
    y, codes, names, given = LABELS[case]
    found = labels_of(read(tmp_path, x=X, y=y))
    assert (found[0], found[2]) == (codes, given)
    assert names is None or found[1] == names


def test_one_1_a_row_is_a_class(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="y holds one 1 in each row of 3: its place is the class"):
        assert labels_of(read(tmp_path, x=X, y=np.eye(3)[Y])) == (CODES, ("0", "1", "2"), CODES)
    with pytest.raises(ValueError, match=r"y has shape \[6, 3\] and x \[6, 2\], expected one y an example"):
        read(tmp_path, x=X, y=np.eye(3)[Y] + np.eye(3)[0])


UNLABELLED = {
    "-1": (np.where(Y == 0, -1, Y + 4), ("5", "6"), "-1; if that is a class, write classes as text"),
    "-1, whole floats": (np.where(Y == 0, -1.0, Y + 4), ("5", "6"), "-1; if that is a class"),
    "NaN": (np.where(Y == 0, np.nan, Y + 4), ("5", "6"), "NaN or empty"),
    "empty": (np.array(["", "5", "6"])[Y], ("5", "6"), "NaN or empty"),
}


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
@pytest.mark.parametrize("case", UNLABELLED)
def test_examples_without_a_label(tmp_path: Path, case: str) -> None:
    y, names, why = UNLABELLED[case]
    with pytest.warns(Notice, match=f"2 of 6 examples are taken as unlabelled, since their y is {why}"):
        raw = read(tmp_path, x=X, y=y)
    assert labels_of(raw)[:2] == ([1, -1, 0, 0, -1, 1], names)
    with pytest.warns(Notice, match="2 of 6 examples have no label: left out"):
        (dataset,) = load_source(f"npz:{tmp_path / 'a.npz'}", standardise=False)
    assert (dataset.y.tolist(), dataset.x[:, 0].tolist()) == ([1, 0, 0, 1], [0, 4, 6, 10])
    with pytest.warns(Notice):
        assert len(load_inputs(f"npz:{tmp_path / 'a.npz'}")[0]) == 6


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
def test_parts_by_class_say_that_they_leave_out_the_unlabelled(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.eye(14, dtype=np.float32), y=np.r_[np.arange(6), np.arange(6), -1, -1])
    with pytest.warns(Notice, match="2 of 14 examples have no label: they are in no part"):
        assert len(load_inputs(f"npz:{tmp_path / 'a.npz'}@train")[0]) == 4


def test_all_without_a_label_are_unlabelled_data(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="6 of 6 examples are taken as unlabelled"):
        assert read(tmp_path, x=X, y=np.full(6, np.nan)).labels is None


def test_class_names_may_be_more_than_classes_and_labels_texts_among_them(tmp_path: Path) -> None:
    names = np.array(["c", "b", "a", "d"])
    assert labels_of(read(tmp_path, x=X, y=Y, class_names=names))[:2] == (CODES, ("c", "b", "a", "d"))
    assert load_source(f"npz:{tmp_path / 'a.npz'}", standardise=False)[0].class_names == ("c", "b", "a")
    raw = read(tmp_path, x=X, y=names[Y].astype("S1"), class_names=names)
    assert labels_of(raw) == (CODES, ("c", "b", "a", "d"), names[Y].tolist())
    with pytest.raises(ValueError, match="y holds 'z', expected one of class_names"):
        read(tmp_path, x=X, y=np.array(list("abczab")), class_names=names)


def test_labels_that_are_no_classes_matter_only_where_labels_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y + 0.5)
    with pytest.raises(ValueError, match="6 of 6 values of y are not whole numbers"):
        load_source(f"npz:{tmp_path / 'a.npz'}")
    with pytest.warns(Notice, match="6 of 6 values of y are not whole numbers: read without labels"):
        assert load_inputs(f"npz:{tmp_path / 'a.npz'}")[0].tolist() == X.tolist()
    with pytest.warns(Notice):
        (raw,) = read_npz(str(tmp_path / "a.npz"), labelled=False)
    assert raw.given is not None
    assert raw.given.tolist() == (Y + 0.5).tolist()


# -- which arrays ------------------------------------------------------------------------------------------------------

NAMED = {
    "capitals": ({"X": X, "Y": Y}, "took X as x and Y as y$"),
    "data, target": ({"data": X, "target": Y, "DESCR": "a"}, "took data as x and target as y; did not read DESCR"),
    "x, labels": ({"x": X, "labels": Y}, "took x as x and labels as y"),
    "without names": ({"arr_0": X, "arr_1": Y}, "took arr_0 as x and arr_1 as y"),
}


@pytest.mark.parametrize("case", NAMED)
def test_other_names_for_x_and_y(tmp_path: Path, case: str) -> None:
    arrays, message = NAMED[case]
    with pytest.warns(Notice, match=message):
        raw = read(tmp_path, **arrays)
    assert raw.x.tolist() == X.tolist()
    assert labels_of(raw)[0] == CODES


PARTS = {
    "keras": ("x_train", "y_train", "x_test", "y_test"),
    "capitals": ("X_train", "Y_train", "X_test", "Y_test"),
    "medmnist": ("train_images", "train_labels", "test_images", "test_labels"),
    "together": ("xtrain", "ytrain", "xtest", "ytest"),
}


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
@pytest.mark.parametrize("case", PARTS)
def test_arrays_of_parts_are_parts(tmp_path: Path, case: str) -> None:
    arrays = dict(zip(PARTS[case], (IMAGES[:4], Y[:4, None], IMAGES[4:], Y[4:, None]), strict=True))
    with pytest.warns(Notice, match=f"took {PARTS[case][0]}, {PARTS[case][2]} as x and {PARTS[case][1]}, "):
        raw = read(tmp_path, **arrays)
    assert raw.x.tolist() == IMAGES.tolist()
    assert raw.x.dtype == np.uint8
    assert labels_of(raw) == (CODES, ("0", "1", "2"), CODES)
    with pytest.warns(Notice):
        (test,) = load_source(f"npz:{tmp_path / 'a.npz'}@test")
    assert (test.x.view(2, 4, 4) * 255).round().tolist() == IMAGES[4:].tolist()
    assert test.class_names == ("0", "2")


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
def test_a_validation_part_and_a_part_without_labels(tmp_path: Path) -> None:
    parts = {"x_train": X[:3], "y_train": Y[:3], "x_val": X[3:4], "y_val": Y[3:4], "x_test": X[4:]}
    with pytest.warns(Notice, match="2 of 6 examples are taken as unlabelled, since their y is NaN"):
        raw = read(tmp_path, **parts)
    assert labels_of(raw)[0] == [2, 0, 1, 1, -1, -1]
    assert raw.split is not None
    assert raw.split.tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    with pytest.warns(Notice):
        assert load_inputs(f"npz:{tmp_path / 'a.npz'}@valid")[0].tolist() == X[3:4].tolist()


def test_names_that_are_no_tables_and_a_lone_array(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="did not read names, which only a file of many tables has"):
        assert labels_of(read(tmp_path, x=X, y=Y, names=np.array(["width", "height"])))[0] == CODES
    with pytest.warns(Notice, match="took embeddings as x, which has no labels"):
        assert read(tmp_path, embeddings=X).labels is None


BAD = {
    "two would do": ({"data": X, "images": IMAGES}, "arrays data, images might be meant, expected x and y"),
    "whole and parts": ({"data": X, "x_train": X}, "arrays data, x_train might be meant"),
    "parts of two types": (
        {"x_train": IMAGES, "x_test": IMAGES / 255},
        r"x_train uint8 .*, expected one type and shape",
    ),
    "parts of two sizes": ({"x_train": IMAGES, "x_test": IMAGES[:, :2]}, "expected one type and shape"),
    "labels of a part": ({"x_train": X, "y_train": Y[:2]}, r"x_train has shape \[6, 2\] and y_train \[2\], expected"),
    "sparse": (
        {"data": X, "indices": Y, "indptr": Y, "shape": Y},
        r"a sparse matrix, .* store matrix.toarray\(\) as x",
    ),
    "neither": ({"train": X, "test": Y}, "no array 'x', expected x and y, .*; it holds train, test"),
    "bytes that are no text": ({"x": X, "y": np.array([b"\xff"] * 6)}, "array 'y' holds bytes that are no text"),
    "labels that are dates": (
        {"x": X, "y": Y.astype("M8[D]")},
        r"y is datetime64\[D\] \[6\], expected one whole number",
    ),
    "labels beyond integers": ({"x": X, "y": Y * 1e300}, "4 of 6 values of y are not whole numbers"),
    "parts that are fractions": ({"x": X, "split": Y + 0.5}, "split is float64, expected train, valid and test, or 0"),
}


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
@pytest.mark.parametrize("case", BAD)
def test_arrays_that_cannot_be_told_apart_or_read(tmp_path: Path, case: str) -> None:
    arrays, message = BAD[case]
    with pytest.raises(ValueError, match=f"npz:a.npz: .*{message}|npz:a.npz: {message}") as caught:
        read(tmp_path, **arrays)
    assert "\n" not in str(caught.value)


# -- parts -------------------------------------------------------------------------------------------------------------

SPLITS = {
    "names": np.array(["Train", "test", "val"])[Y],
    "bytes": np.array([b"train", b"test", b"validation"])[Y],
    "floats": np.array([0.0, 2.0, 1.0])[Y],
    "[n, 1]": np.array([0, 2, 1])[Y][:, None],
    "big-endian": np.array([0, 2, 1], ">i2")[Y],
}


@pytest.mark.parametrize("case", SPLITS)
def test_parts_are_read_by_meaning(tmp_path: Path, case: str) -> None:
    read(tmp_path, x=X, y=Y, split=SPLITS[case])
    rows = {
        part: load_inputs(f"npz:{tmp_path / 'a.npz'}@{part}")[0][:, 0].tolist() for part in ("train", "valid", "test")
    }
    assert rows == {"train": [2, 8], "valid": [0, 10], "test": [4, 6]}


def test_parts_that_are_true_or_false(tmp_path: Path) -> None:
    with pytest.warns(Notice, match="split is True or False: read as test and train"):
        read(tmp_path, x=X, y=Y, split=Y == 2)
    with pytest.warns(Notice):
        assert load_inputs(f"npz:{tmp_path / 'a.npz'}@test")[0][:, 0].tolist() == [0, 10]


def test_unknown_parts_matter_only_where_one_is_asked_for(tmp_path: Path) -> None:
    read(tmp_path, x=X, y=Y, split=np.array(["fold1", "fold2", "fold3"])[Y])
    assert len(load_source(f"npz:{tmp_path / 'a.npz'}", standardise=False)[0]) == 6
    with pytest.raises(ValueError, match=r"split holds \['fold1', 'fold2', 'fold3'\], expected"):
        load_source(f"npz:{tmp_path / 'a.npz'}@train", standardise=False)
