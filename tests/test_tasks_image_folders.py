"""Folders of images: which files are examples, of which class and part, and what they are called."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.notice import Notice
from tasks.data.folder_source import read_folder
from tasks.data.raw import RawData
from tasks.data.sources import load_inputs, load_source


def save(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((4, 4), value, np.uint8)
    pixels[3, 3] = 255
    Image.fromarray(pixels).save(path)


def read(folder: Path) -> RawData:
    (raw,) = read_folder(str(folder), None)
    return raw


def test_examples_have_the_names_of_their_files_and_labels_those_of_folders(tmp_path: Path) -> None:
    for i, name in enumerate(("猫 café/画像 1.png", "猫 café/画像 2.png", "ñandú/a.PNG")):
        save(tmp_path / name, i)
    raw = read(tmp_path)
    assert raw.ids is not None
    assert raw.given is not None
    assert raw.labels is not None
    assert raw.ids.tolist() == ["ñandú/a.PNG", "猫 café/画像 1.png", "猫 café/画像 2.png"]
    assert raw.x[:, 0, 0].tolist() == [2, 0, 1]
    assert raw.given.tolist() == ["ñandú", "猫 café", "猫 café"]
    assert (raw.labels.tolist(), raw.class_names) == ([0, 1, 1], ("ñandú", "猫 café"))


def test_a_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    save(tmp_path / "2.png", 2)
    save(tmp_path / "1.png", 1)
    raw = read(tmp_path)
    assert raw.ids is not None
    assert (raw.ids.tolist(), raw.labels, raw.given) == (["1.png", "2.png"], None, None)


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    for name in ("10", "2", "1", "-3"):
        save(tmp_path / name / "0.png", int(name) + 3)
    raw = read(tmp_path)
    assert raw.class_names == ("-3", "1", "2", "10")
    assert raw.labels is not None
    assert [(raw.class_names[code], value) for code, value in zip(raw.labels, raw.x[:, 0, 0], strict=True)] == [
        ("-3", 0),
        ("1", 4),
        ("10", 13),
        ("2", 5),
    ]
    save(tmp_path / "ten" / "0.png")
    assert read(tmp_path).class_names == ("-3", "1", "10", "2", "ten")


def test_what_systems_put_into_folders_is_passed_over_without_a_word(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    save(tmp_path / ".ipynb_checkpoints" / "0-checkpoint.png")
    save(tmp_path / "__MACOSX" / "a" / "0.png")
    save(tmp_path / "a" / ".thumbnails" / "0.png")
    for name in ("a/Thumbs.db", ".DS_Store", "a/._0.png", "desktop.ini"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raw = read(tmp_path)
    assert (len(raw.x), raw.class_names) == (1, ("a",))


def test_other_files_and_empty_folders_are_named(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for name in ("labels.txt", "a/1.heic", "a/2.heic"):
        (tmp_path / name).write_text("")
    with pytest.warns(Notice) as said:
        assert len(read(tmp_path).x) == 1
    assert [str(one.message).partition(": ")[2] for one in said] == [
        "left out files that are no images: labels.txt, a/1.heic, a/2.heic and 1 more",
        "left out folders without images: b",
    ]


@pytest.mark.parametrize(("valid", "test"), [("val", "test"), ("valid", "Test"), ("validation", None)])
def test_parts_of_class_folders_are_parts(tmp_path: Path, valid: str, test: str | None) -> None:
    root = tmp_path / "pets"
    values = {}
    for value, (part, name) in enumerate(
        [("train", "cat"), ("train", "dog"), (valid, "cat"), (valid, "emu")]
        + ([(test, "cat"), (test, "dog")] if test else [])
    ):
        save(root / part / name / "0.png", value)
        values[part, name] = value / 255
    (whole,) = load_source(f"folder:{root}")
    assert whole.class_names == ("cat", "dog", "emu")
    assert len(whole) == len(values)
    (train,), (validation,) = load_source(f"folder:{root}@train"), load_source(f"folder:{root}@valid")
    assert train.class_names == ("cat", "dog")
    assert validation.class_names == ("cat", "emu")
    np.testing.assert_allclose(train.x[:, 0], [values["train", "cat"], values["train", "dog"]])
    np.testing.assert_allclose(validation.x[:, 0], [values[valid, "cat"], values[valid, "emu"]])
    raw = read(root)
    assert raw.ids is not None
    assert raw.ids.tolist()[:3] == ["train/cat/0.png", "train/dog/0.png", f"{valid}/cat/0.png"]
    if test:
        np.testing.assert_allclose(load_inputs(f"folder:{root}@test")[0][:, 0], [4 / 255, 5 / 255])
    else:
        with pytest.raises(ValueError, match="folder:pets: no part 'test', this data has train and valid"):
            load_source(f"folder:{root}@test")


def test_a_part_may_have_no_labels(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "0.png", 1)
    save(tmp_path / "train" / "dog" / "0.png", 2)
    save(tmp_path / "test" / "0.png", 3)
    raw = read(tmp_path)
    assert raw.labels is not None
    assert raw.given is not None
    assert (raw.labels.tolist(), raw.given.tolist()) == ([0, 1, -1], ["cat", "dog", ""])
    assert (load_inputs(f"folder:{tmp_path}@test")[0][:, 0] == 3 / 255).all()
    with pytest.warns(Notice, match="1 of 3 examples have no label: left out"):
        assert load_source(f"folder:{tmp_path}")[0].y.tolist() == [0, 1]


def test_parts_may_all_be_flat(tmp_path: Path) -> None:
    save(tmp_path / "train" / "0.png", 1)
    save(tmp_path / "test" / "0.png", 2)
    assert read(tmp_path).labels is None
    assert (load_inputs(f"folder:{tmp_path}@train")[0][:, 0] == 1 / 255).all()


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "a" / "b" / "0.png")
    with pytest.raises(
        ValueError, match=r"deep: an image lies at a/b/0\.png, expected FOLDER/CLASS/IMAGE, FOLDER/IMAGE"
    ):
        read(tmp_path / "deep")
    save(tmp_path / "deeper" / "a" / "0.png")
    save(tmp_path / "deeper" / "a" / "more" / "1.png")
    with pytest.raises(ValueError, match=r"an image lies at a/more/1\.png"):
        read(tmp_path / "deeper")
    for part in ("train", "other"):
        save(tmp_path / "mixed" / part / "a" / "0.png")
    with pytest.raises(ValueError, match=r"an image lies at other/a/0\.png"):
        read(tmp_path / "mixed")
    for part in ("train", "val", "valid"):
        save(tmp_path / "twice" / part / "a" / "0.png")
    with pytest.raises(ValueError, match="twice: train and val and valid, expected each part once"):
        read(tmp_path / "twice")
