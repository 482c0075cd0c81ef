"""Omniglot and miniImageNet from folders made here in their layouts: classes, groups, splits, ink, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.omniglot_source import _dealt
from tasks.data.sources import load_inputs, load_source
from tasks.dataset import Dataset

ALPHABETS = {"images_background": ("Greek", "Latin", "Tifinagh"), "images_evaluation": ("Angelic", "Tengwar")}


def load(source: str, size: int | None = None) -> Dataset:
    (dataset,) = load_source(source, size=size)
    return dataset


@pytest.fixture
def omniglot(tmp_path: Path) -> Path:
    """5 alphabets of 6 characters of 3 drawings, 9 × 9, black on white, one black pixel a drawing."""
    rng = np.random.default_rng(0)
    for part, alphabets in ALPHABETS.items():
        for alphabet in alphabets:
            for number in range(1, 7):
                folder = tmp_path / "omniglot" / part / alphabet / f"character{number:02}"
                folder.mkdir(parents=True)
                for drawer in range(3):
                    pixels = np.full((9, 9), 255, np.uint8)
                    pixels[*rng.integers(0, 9, 2)] = 0
                    Image.fromarray(pixels).convert("1").save(folder / f"{number:04}_{drawer:02}.png")
    return tmp_path / "omniglot"


def test_omniglot_has_a_class_a_character_a_group_an_alphabet_and_bright_ink(omniglot: Path) -> None:
    data = load(f"omniglot:{omniglot}")
    assert (len(data), data.classes, data.image_shape, data.name) == (90, 30, (9, 9), "omniglot:omniglot")
    assert data.class_names[:2] == ("Angelic/character01", "Angelic/character02")
    assert torch.bincount(data.y).tolist() == [3] * 30
    assert data.group is not None
    assert data.group.tolist() == [alphabet for alphabet in range(5) for _ in range(18)]
    assert data.x.sum(1).tolist() == [1.0] * 90
    assert load(f"omniglot:{omniglot}", size=3).image_shape == (3, 3)


def test_omniglot_splits_share_no_character_and_do_not_follow_the_seed(omniglot: Path) -> None:
    parts = [set(load(f"omniglot:{omniglot}@{split}").class_names) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [20, 2, 8]
    assert len(set.union(*parts)) == 30
    assert [data.class_names for data in load_source(f"omniglot:{omniglot}@test", seed=7)] == [
        load(f"omniglot:{omniglot}@test").class_names
    ]


def test_all_of_omniglot_is_dealt_as_published() -> None:
    parts = [_dealt(1623, split) for split in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [1100, 100, 423]
    assert sorted(place for part in parts for place in part) == list(range(1623))
    assert parts[1][:5] == [1, 8, 30, 40, 57]  # what runs call the test set stays the test set


def test_one_part_of_omniglot_is_taken_by_its_folder(omniglot: Path) -> None:
    data = load(f"omniglot:{omniglot / 'images_evaluation'}")
    assert {name.partition("/")[0] for name in data.class_names} == {"Angelic", "Tengwar"}
    inputs, shape, *_ = load_inputs(f"omniglot:{omniglot / 'images_background'}@train")
    assert (len(inputs), shape) == (36, (9, 9))


def test_rotations_are_classes_of_their_own_on_the_side_of_their_character(omniglot: Path) -> None:
    plain, turned = load(f"omniglot:{omniglot}@train"), load(f"omniglot_rotated:{omniglot}@train")
    assert (turned.classes, len(turned), turned.name) == (80, 240, "omniglot_rotated:omniglot@train")
    for turns in range(4):
        rows = slice(60 * turns, 60 * turns + 60)
        expected = torch.rot90(plain.x.view(60, 9, 9), turns, (1, 2))
        assert torch.equal(turned.x[rows].view(60, 9, 9), expected)
        assert torch.equal(turned.y[rows], plain.y + 20 * turns)
    assert turned.class_names[21] == f"{plain.class_names[1]}, 90 degrees"


def test_omniglot_that_is_not_all_there_is_refused(omniglot: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        load(f"omniglot:{tmp_path / 'none'}")
    (omniglot / "images_evaluation").rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"images_evaluation is missing; to take the other part alone, name"):
        load(f"omniglot:{omniglot}")
    with pytest.raises(FileNotFoundError, match=r"no images, expected images_background and images_evaluation, or"):
        load(f"omniglot:{tmp_path / 'elsewhere' / 'Tengwar'}")
    for number in range(2, 7):
        for image in (tmp_path / "elsewhere" / "Tengwar" / f"character{number:02}").iterdir():
            image.unlink()
    for image in (tmp_path / "elsewhere" / "Angelic").glob("*/*.png"):
        image.unlink()
    with pytest.raises(ValueError, match=r"omniglot:elsewhere@test: none of 1 characters"):
        load(f"omniglot:{tmp_path / 'elsewhere'}@test")


CLASSES = {"train": ("n01", "n02", "n03"), "val": ("n04", "n05"), "test": ("n06", "n07", "n08")}


def photograph(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8 + seed % 3, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture(params=["folders", "tables"])
def miniimagenet(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """8 classes of 2 colour images of several sizes, in both layouts."""
    root = tmp_path / "mini"
    for part, classes in CLASSES.items():
        rows = ["filename,label"]
        for name in classes:
            for i in range(2):
                file = f"{name}_{i}.jpg"
                folder = root / part / name if request.param == "folders" else root / "images"
                photograph(folder / file, seed=int(name[1:]) * 2 + i)
                rows.append(f"{file},{name}")
        if request.param == "tables":
            (root / f"{part}.csv").write_text("\n".join(rows) + "\n")
    return root


def test_miniimagenet_has_its_own_splits_in_either_layout(miniimagenet: Path) -> None:
    for split, part in (("train", "train"), ("valid", "val"), ("test", "test")):
        data = load(f"miniimagenet:{miniimagenet}@{split}", size=6)
        assert (data.class_names, data.image_shape) == (CLASSES[part], (6, 6, 3))
        assert data.name == f"miniimagenet:mini@{split}"
        assert torch.bincount(data.y).tolist() == [2] * len(CLASSES[part])
    assert load(f"miniimagenet:{miniimagenet}", size=6).classes == 8
    with pytest.raises(ValueError, match=r"images differ in size .*, expected one size, or give a size"):
        load(f"miniimagenet:{miniimagenet}")


def test_both_layouts_read_the_same(tmp_path: Path) -> None:
    for i, name in enumerate(("a", "a", "b", "b")):
        photograph(tmp_path / "one" / "train" / name / f"{i}.png", seed=i)
        photograph(tmp_path / "two" / "images" / f"{i}.png", seed=i)
    (tmp_path / "two" / "train.csv").write_text("label,filename\nb,2.png\na,0.png\nb,3.png\na,1.png\n")
    one, two = (load(f"miniimagenet:{tmp_path / layout}@train", size=5) for layout in ("one", "two"))
    assert one.fingerprint == two.fingerprint
    assert one.class_names == two.class_names


def test_miniimagenet_that_is_not_as_it_should_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        load(f"miniimagenet:{tmp_path / 'none'}")
    with pytest.raises(FileNotFoundError, match=r"no images, expected train/CLASS/\*.jpg, val and test, or images/"):
        load(f"miniimagenet:{tmp_path}")
    photograph(tmp_path / "train" / "a" / "0.png", seed=0)
    with pytest.raises(FileNotFoundError, match="no part 'val'"):
        load(f"miniimagenet:{tmp_path}@valid")
    photograph(tmp_path / "val" / "a" / "0.png", seed=0)
    with pytest.raises(ValueError, match="class 'a' is in train and valid"):
        load(f"miniimagenet:{tmp_path}@train")
    table = tmp_path / "val.csv"
    for content, error, message in (
        (b"file,label\n", ValueError, r"val.csv: columns \['file', 'label'\], expected filename and label"),
        (b"filename,label\nb.jpg,b\n", FileNotFoundError, r"b.jpg: no such image, expected it since val.csv lists it"),
        (b"filename,label\n\xff\xfe,b\n", ValueError, r"val.csv: not a table of text"),
    ):
        table.write_bytes(content)
        with pytest.raises(error, match=message):
            load(f"miniimagenet:{tmp_path}@valid")
