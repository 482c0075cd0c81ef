import gzip
import pickle
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.data.idx_source import read_idx
from tasks.data.sources import load_inputs, load_source
from tasks.data.splits import SPLITS


def save(path, **arrays):
    np.savez(path, **arrays)
    return f"npz:{path}"


def images(n=24, side=6, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side), dtype=np.uint8)


@pytest.fixture
def labelled(tmp_path):
    """24 grey images of 8 classes, with groups."""
    return save(tmp_path / "toy.npz", x=images(), y=np.arange(24) % 8, group=np.arange(24) // 8 * 10)


# -- packaged ---------------------------------------------------------------------------------------------------------


def test_digits():
    (digits,) = load_source("digits")
    assert (len(digits), digits.inputs, digits.classes, digits.image_shape) == (1797, 64, 10, (8, 8))
    assert digits.x.min() == 0
    assert digits.x.max() == 1
    assert digits.class_names == tuple("0123456789")
    # The first three images are a 0, a 1 and a 2, and the first begins 0 0 5 13 (of 16).
    assert digits.y[:3].tolist() == [0, 1, 2]
    assert (digits.x[0, :4] * 16).tolist() == [0, 0, 5, 13]


def test_mnist5k_and_size():
    (mnist,) = load_source("mnist5k", size=14)
    assert (len(mnist), mnist.inputs, mnist.classes, mnist.image_shape) == (5000, 196, 10, (14, 14))
    assert torch.bincount(mnist.y).tolist() == [500] * 10
    assert 0.9 < mnist.x.max() <= 1


# -- npz --------------------------------------------------------------------------------------------------------------


def test_tables_of_scikit_learn():
    (wine,) = load_source("sklearn:wine")
    assert (len(wine), wine.inputs, wine.classes, wine.image_shape) == (178, 13, 3, None)
    np.testing.assert_allclose(wine.x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(wine.x.std(0, correction=0), 1, rtol=1e-4)
    assert load_source("sklearn:iris")[0].class_names == ("setosa", "versicolor", "virginica")
    (moons,) = load_source("sklearn:moons")
    assert (len(moons), moons.inputs, moons.class_names) == (2000, 2, ("upper", "lower"))
    assert moons.x[moons.y == 0, 1].mean() > moons.x[moons.y == 1, 1].mean()
    with pytest.raises(ValueError, match=r"unknown table sklearn:wines, expected .*; did you mean sklearn:wine"):
        load_source("sklearn:wines")


def test_npz_images(labelled):
    (data,) = load_source(labelled)
    assert data.name == "npz:toy.npz"
    assert data.image_shape == (6, 6)
    torch.testing.assert_close(data.x, torch.from_numpy(images().reshape(24, 36).astype(np.float32) / 255))
    assert data.y.tolist() == [i % 8 for i in range(24)]
    assert data.group.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert load_source(labelled, size=3)[0].image_shape == (3, 3)


def test_npz_colour(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 5, 3), dtype=np.uint8)
    (data,) = load_source(save(tmp_path / "c.npz", x=x, y=[0, 1, 0, 1]), size=10)
    assert data.image_shape == (10, 10, 3)
    assert data.inputs == 300


def test_npz_float_images_are_taken_as_they_are(tmp_path):
    x = np.random.default_rng(0).random((4, 5, 5))
    inputs, shape, *_ = load_inputs(save(tmp_path / "f.npz", x=x))
    assert shape == (5, 5)
    torch.testing.assert_close(inputs, torch.from_numpy(x.reshape(4, 25)).float())


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_npz_counts(tmp_path, dtype):
    x = np.array([[0, 1, 3], [1, 0, 7]], dtype=dtype)
    inputs, shape, *_ = load_inputs(save(tmp_path / "counts.npz", x=x), size=9)
    assert shape is None
    torch.testing.assert_close(inputs, torch.log2(1 + torch.from_numpy(x).float()))


def test_npz_rows_are_taken_as_they_are(tmp_path):
    x = np.array([[-1.5, 20.0], [3.0, 0.25]], dtype=np.float32)
    (data,) = load_source(save(tmp_path / "rows.npz", x=x, y=["b", "a"]), size=9, standardise=False)
    assert data.x.tolist() == x.tolist()
    assert data.image_shape is None
    assert data.y.tolist() == [1, 0]
    assert data.class_names == ("a", "b")


def test_npz_class_names_without_examples_are_dropped(tmp_path):
    x = np.zeros((3, 2), np.float32)
    (data,) = load_source(save(tmp_path / "n.npz", x=x, y=[2, 0, 2], class_names=["no", "none", "yes"]))
    assert data.class_names == ("no", "yes")
    assert data.y.tolist() == [1, 0, 1]


def test_labels_may_start_anywhere(tmp_path):
    (data,) = load_source(save(tmp_path / "n.npz", x=np.zeros((3, 2), np.float32), y=[10.0, -2.0, 10.0]))
    assert data.class_names == ("-2", "10")
    assert data.y.tolist() == [1, 0, 1]


def tables(count, families=None):
    names = [f"t{i}" for i in range(count)]
    arrays = {"names": np.array(names)}
    if families:
        arrays["family"] = np.array(families)
    for i, name in enumerate(names):
        arrays[f"{name}/x"] = np.full((4, i + 1), i, np.float32)
        arrays[f"{name}/y"] = np.array([0, 1, 0, 1])
        arrays[f"{name}/class_names"] = np.array(["no", "yes"])
    return arrays


def test_npz_of_many_tables(tmp_path):
    source = save(tmp_path / "many.npz", **tables(3))
    found = load_source(source)
    assert [data.name for data in found] == [f"npz:many.npz/t{i}" for i in range(3)]
    assert [data.inputs for data in found] == [1, 2, 3]
    assert found[2].x.unique().tolist() == [2]
    assert found[0].class_names == ("no", "yes")
    with pytest.raises(ValueError, match="3 tables, expected one"):
        load_inputs(source)


def test_tables_are_split_by_family(tmp_path):
    families = [f"f{i // 2}" for i in range(20)]
    source = save(tmp_path / "many.npz", **tables(20, families))
    parts = {split: [data.name for data in load_source(f"{source}@{split}", seed=1)] for split in SPLITS}
    assert {split: len(names) for split, names in parts.items()} == {"train": 12, "valid": 4, "test": 4}
    kin = [{families[int(name.split("/t")[1].split("@")[0])] for name in names} for names in parts.values()]
    assert len(set.union(*kin)) == sum(map(len, kin)) == 10


def test_tables_that_all_state_a_split_keep_to_it(tmp_path):
    arrays = tables(3)
    for place, part in enumerate(("train", "train", "test")):
        arrays[f"t{place}/split"] = np.full(len(arrays[f"t{place}/x"]), part)
    source = save(tmp_path / "many.npz", **arrays)
    found = {split: [data.name for data in load_source(f"{source}@{split}")] for split in ("train", "test")}
    assert found == {
        "train": ["npz:many.npz/t0@train", "npz:many.npz/t1@train"],
        "test": ["npz:many.npz/t2@test"],
    }
    with pytest.raises(ValueError, match=r"npz:many\.npz/t0 and 2 more: no part 'valid' in any of them"):
        load_source(f"{source}@valid")


def test_halves_of_the_test_part_share_no_group(tmp_path):
    n = 60
    arrays = {"x": np.arange(n)[:, None] / n, "y": np.arange(n) % 2, "group": np.arange(n) % 7}
    source = save(tmp_path / "many.npz", **arrays, split=np.where(np.arange(n) < 30, 0, 1))
    (whole,), *halves = (
        load_source(f"{source}@{part}", seed=seed)
        for part, seed in (("test", 0), ("test_a", 0), ("test_b", 0), ("test_a", 5))
    )
    first, second, again = (one[0] for one in halves)
    groups = [set(part.group.tolist()) for part in (first, second)]
    assert sorted(map(len, groups)) == [3, 4]
    assert not set.intersection(*groups)
    assert sorted(torch.cat([first.x, second.x]).flatten().tolist()) == whole.x.flatten().tolist()
    assert first.name == "npz:many.npz@test_a"
    assert again.fingerprint == first.fingerprint, "whatever the seed of the run"
    del arrays["group"]
    other = save(tmp_path / "none.npz", **arrays, split=np.where(np.arange(n) < 30, 0, 1))
    with pytest.raises(ValueError, match=r"none\.npz@test: no groups to make halves of"):
        load_source(f"{other}@test_b")


# -- splits -----------------------------------------------------------------------------------------------------------


def test_splits_are_class_disjoint_and_follow_the_seed(labelled):
    parts = {split: load_source(f"{labelled}@{split}", seed=3)[0] for split in SPLITS}
    names = [set(part.class_names) for part in parts.values()]
    assert [len(part) for part in names] == [4, 2, 2]
    assert set.union(*names) == {str(c) for c in range(8)}
    assert parts["valid"].name == "npz:toy.npz@valid"
    (whole,) = load_source(labelled)
    for part in parts.values():
        rows = [i for i in range(24) if whole.class_names[whole.y[i]] in part.class_names]
        assert torch.equal(part.x, whole.x[rows])
        assert torch.equal(part.group, whole.group[rows])
    assert load_source(f"{labelled}@train", seed=3)[0].fingerprint == parts["train"].fingerprint
    others = {load_source(f"{labelled}@train", seed=seed)[0].class_names for seed in range(6)}
    assert len(others) > 1


@pytest.mark.parametrize(
    ("values", "sizes"), [([0, 0, 1, 0], {"train": 3, "test": 1}), ([2, 0, 1, 2], {"train": 1, "valid": 1, "test": 2})]
)
def test_stated_splits_come_first(tmp_path, values, sizes):
    x = np.eye(4, 2, dtype=np.float32)
    source = save(tmp_path / "s.npz", x=x, y=[0, 1, 0, 1], split=np.array(values, np.int8))
    assert {split: len(load_source(f"{source}@{split}")[0]) for split in sizes} == sizes
    assert len(load_source(source)[0]) == 4
    assert len(load_inputs(f"{source}@test").x) == sizes["test"]


# -- idx --------------------------------------------------------------------------------------------------------------


def idx(array):
    axes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + axes + array.astype(np.uint8).tobytes()


def write_idx(folder, part, x, y, zipped=False):
    folder.mkdir(exist_ok=True)
    for kind, array in ((f"{part}-images-idx3-ubyte", x), (f"{part}-labels-idx1-ubyte", y)):
        if zipped:
            (folder / f"{kind}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / kind).write_bytes(idx(array))


@pytest.mark.parametrize("zipped", [False, True])
def test_idx(tmp_path, zipped):
    folder = tmp_path / "toy"
    write_idx(folder, "train", images(6), np.array([3, 4, 3, 4, 3, 4]), zipped)
    write_idx(folder, "t10k", images(4, seed=1), np.array([4, 4, 3, 3]), zipped)
    (whole,) = load_source(f"idx:{folder}")
    assert (whole.name, len(whole), whole.class_names) == ("idx:toy", 10, ("3", "4"))
    (train,) = load_source(f"idx:{folder}@train")
    torch.testing.assert_close(train.x, torch.from_numpy(images(6).reshape(6, 36) / 255).float())
    (test,) = load_source(f"idx:{folder}@test", size=3)
    assert test.y.tolist() == [1, 1, 0, 0]
    assert test.inputs == 9
    with pytest.raises(ValueError, match="idx:toy: no part 'valid', this data has train and test"):
        load_source(f"idx:{folder}@valid")


def test_idx_with_training_part_only(tmp_path):
    write_idx(tmp_path / "toy", "train", images(4), np.array([0, 1, 0, 1]))
    assert len(load_source(f"idx:{tmp_path / 'toy'}")[0]) == 4
    with pytest.raises(ValueError, match="no part 'test', this data has train"):
        load_source(f"idx:{tmp_path / 'toy'}@test")


def test_idx_without_labels(tmp_path):
    folder = tmp_path / "toy"
    write_idx(folder, "train", images(4), np.array([7, 3, 7, 3]))
    write_idx(folder, "t10k", images(3, seed=1), np.zeros(3))
    (folder / "t10k-labels-idx1-ubyte").unlink()
    (raw,) = read_idx(str(folder))
    assert (raw.labels.tolist(), raw.given.tolist()) == ([1, 0, 1, 0, -1, -1, -1], [7, 3, 7, 3, -1, -1, -1])
    (folder / "train-labels-idx1-ubyte").unlink()
    inputs, shape, *_ = load_inputs(f"idx:{folder}@test")
    assert shape == (6, 6)
    torch.testing.assert_close(inputs, torch.from_numpy(images(3, seed=1).reshape(3, 36) / 255).float())
    assert len(load_inputs(f"idx:{folder}").x) == 7
    with pytest.raises(ValueError, match="idx:toy: no labels found"):
        load_source(f"idx:{folder}")


def test_bad_idx(tmp_path):
    folder = tmp_path / "toy"
    with pytest.raises(FileNotFoundError, match="no such folder, expected one with train-images-idx3-ubyte"):
        load_source(f"idx:{folder}")
    folder.mkdir()
    with pytest.raises(FileNotFoundError, match="no train-images-idx3-ubyte"):
        load_source(f"idx:{folder}")
    write_idx(folder, "train", images(4), np.array([0, 1, 0]))
    with pytest.raises(ValueError, match="4 images in train-images-idx3-ubyte and 3 labels"):
        load_source(f"idx:{folder}")
    whole = idx(images(4))
    for content, message in (
        (whole[:-5], "139 values, expected 144 for shape"),
        (b"", "not an idx file of bytes with 3 axes"),
        (idx(np.zeros(4)), "not an idx file of bytes with 3 axes"),
    ):
        (folder / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_source(f"idx:{folder}")
    (folder / "train-images-idx3-ubyte").unlink()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(ValueError, match="damaged gzip file"):
        load_source(f"idx:{folder}")
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="train-labels-idx1-ubyte is there but no train-images-idx3-ubyte"):
        load_source(f"idx:{folder}")
    write_idx(folder, "train", images(4), np.array([0, 1, 0, 1]))
    write_idx(folder, "t10k", images(4, side=7), np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="expected one size"):
        load_source(f"idx:{folder}")


# -- folders of images ------------------------------------------------------------------------------------------------


def write_images(folder, count, side=5, mode="L", ending="png", seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, side, side, 4), dtype=np.uint8)
    for i, image in enumerate(pixels):
        Image.fromarray(image, "RGBA").convert(mode).save(folder / f"{i}.{ending}")


def test_folder(tmp_path):
    root = tmp_path / "pets"
    write_images(root / "dog", 3)
    write_images(root / "cat", 2, seed=1)
    (data,) = load_source(f"folder:{root}")
    assert (data.name, data.class_names, data.image_shape) == ("folder:pets", ("cat", "dog"), (5, 5))
    assert data.y.tolist() == [0, 0, 1, 1, 1]
    first = np.asarray(Image.open(root / "cat" / "0.png")).reshape(-1)
    torch.testing.assert_close(data.x[0], torch.from_numpy(first / 255).float())


def test_folder_of_mixed_kinds_and_sizes(tmp_path):
    write_images(tmp_path / "a", 1, side=9, mode="RGB", ending="jpg")
    write_images(tmp_path / "a", 1, side=6, mode="1", ending="bmp")
    write_images(tmp_path / "b", 1, side=5, mode="RGBA", ending="png")
    write_images(tmp_path / "b", 1, side=7, mode="P", ending="gif")
    Image.fromarray(np.full((8, 8), 65535, np.uint16)).save(tmp_path / "b" / "deep.tiff")
    (data,) = load_source(f"folder:{tmp_path}", size=4)
    assert data.image_shape == (4, 4, 3)
    assert data.x[data.y == 1][-1].min() == 1
    with pytest.raises(ValueError, match=r"images differ in size .*, expected one size, or give a size"):
        load_source(f"folder:{tmp_path}")


def test_transparent_parts_are_black(tmp_path):
    (tmp_path / "a").mkdir()
    pixels = np.full((2, 2, 4), 255, np.uint8)
    pixels[0, 0, 3] = 0
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a" / "0.png")
    assert load_source(f"folder:{tmp_path}")[0].x.tolist() == [[0, 1, 1, 1]]


def test_folder_without_labels(tmp_path):
    write_images(tmp_path / "loose", 3)
    inputs, shape, *_ = load_inputs(f"folder:{tmp_path / 'loose'}")
    assert (inputs.shape, shape) == ((3, 25), (5, 5))
    with pytest.raises(ValueError, match="folder:loose: no labels found"):
        load_source(f"folder:{tmp_path / 'loose'}")
    with pytest.raises(ValueError, match="folder:loose: no labels and no split array"):
        load_inputs(f"folder:{tmp_path / 'loose'}@train")


def test_bad_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_source(f"folder:{tmp_path / 'none'}")
    with pytest.raises(FileNotFoundError, match=r"no images of .*\.png.*, expected FOLDER/CLASS/IMAGE"):
        load_source(f"folder:{tmp_path}")
    write_images(tmp_path / "a", 1)
    (tmp_path / "a" / "1.png").write_bytes(b"PNG, or so it says")
    with pytest.raises(ValueError, match=r"1\.png: not an image"):
        load_source(f"folder:{tmp_path}")
    whole = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / "a" / "1.png").write_bytes(whole[:-30])
    with pytest.raises(ValueError, match=r"1\.png: not an image that can be read, or a damaged one"):
        load_source(f"folder:{tmp_path}")
    write_images(tmp_path, 1)
    with pytest.raises(ValueError, match="1 images beside 1 class folders"):
        load_source(f"folder:{tmp_path}")


# -- what users get wrong ---------------------------------------------------------------------------------------------

ROWS = np.zeros((4, 2), np.float32)
BAD_NPZ = {
    "one name, no y": ({"x": ROWS}, "npz:bad.npz: no labels found"),
    "no x": ({"y": [0, 1]}, "npz:bad.npz: no array 'x', expected x and y, .*; it holds y"),
    "nothing": ({}, "it holds nothing"),
    "lengths": ({"x": ROWS, "y": [0, 1, 0]}, r"npz:bad.npz: y has shape \[3\] and x \[4, 2\]"),
    "group length": ({"x": ROWS, "y": [0, 1, 0, 1], "group": [1]}, "group has shape"),
    "labels in 2-D": ({"x": ROWS, "y": ROWS}, "y has shape"),
    "scalar": ({"x": 3.0, "y": [0]}, "y has shape"),
    "objects in x": ({"x": np.array([{}, {}], object), "y": [0, 1]}, "array 'x' holds Python objects"),
    "objects in y": ({"x": ROWS, "y": np.array([{}] * 4, object)}, "array 'y' holds Python objects"),
    "NaN": ({"x": np.full((4, 2), np.nan), "y": [0, 1, 0, 1]}, "npz:bad.npz: 8 of 8 input values are NaN"),
    "infinity": ({"x": ROWS + np.inf, "y": [0, 1, 0, 1]}, "NaN or infinite"),
    "too large": ({"x": np.full((4, 2), 1e300), "y": [0, 1, 0, 1]}, r"holds 1e\+300, too large for float32; scale it"),
    "NaN image": ({"x": np.full((4, 2, 2), np.nan), "y": [0, 1, 0, 1]}, "NaN or infinite"),
    "image beyond 1": (
        {"x": np.full((4, 2, 2), 1.2), "y": [0, 1, 0, 1]},
        "image values run from 1.2 to 1.2, expected 0",
    ),
    "axes": ({"x": np.zeros((4, 2, 2, 2), np.uint8), "y": [0, 1, 0, 1]}, r"x is uint8 \[4, 2, 2, 2\], expected images"),
    "one axis": ({"x": np.zeros(4, np.float32), "y": [0, 1, 0, 1]}, r"x is float32 \[4\], expected images"),
    "complex": ({"x": ROWS.astype(complex), "y": [0, 1, 0, 1]}, "x is complex128"),
    "text": ({"x": np.full((4, 2), "a"), "y": [0, 1, 0, 1]}, "x is <U1"),
    "empty": ({"x": np.zeros((0, 2), np.float32), "y": np.zeros(0, int)}, "x is empty"),
    "fractional labels": ({"x": ROWS, "y": [0.5, 1, 0, 2.0]}, "1 of 4 values of y are not whole numbers"),
    "complex labels": ({"x": ROWS, "y": np.array([1j, 0, 1, 0])}, "y is complex128"),
    "names too few": ({"x": ROWS, "y": [0, 1, 2, 0], "class_names": ["a", "b"]}, "y runs from 0 to 2, expected 0 to 1"),
    "names for text": ({"x": ROWS, "y": ["a"] * 4, "class_names": ["b"]}, "y holds 'a', expected one of class_names"),
    "names in 2-D": (
        {"x": ROWS, "y": [0] * 4, "class_names": [["b"]]},
        r"class_names has shape \[1, 1\], expected a list",
    ),
    "no tables": ({"names": np.array([], str)}, "expected one of each a table"),
    "families": ({**tables(3, ["f"])}, r"\[3\] names and \[1\] families"),
    "missing table": ({"names": ["gone"]}, "npz:bad.npz/gone: no array 'gone/x'"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz_contents(tmp_path, case):
    arrays, message = BAD_NPZ[case]
    with pytest.raises(ValueError, match=message) as caught:
        load_source(save(tmp_path / "bad.npz", **arrays))
    assert "\n" not in str(caught.value)


def test_bad_npz_files(tmp_path, labelled):
    path = tmp_path / "bad.npz"
    with pytest.raises(FileNotFoundError):
        load_source(f"npz:{path}")
    with pytest.raises(OSError, match="irectory"):
        load_source(f"npz:{tmp_path}")
    whole = (tmp_path / "toy.npz").read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], pickle.dumps({"x": 1})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.npz: not an npz file, or a damaged one"):
            load_source(f"npz:{path}")
    for place in (300, whole.rindex(b"PK\1\2") + 8):  # in the data; in the flags, which then say encrypted
        damaged = bytearray(whole)
        damaged[place] ^= 255
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"bad\.npz: (array '.*' is|not an npz file, or a) damaged"):
            load_source(f"npz:{path}")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "no array")
    with pytest.raises(ValueError, match="'x' is not an array"):
        load_source(f"npz:{path}")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", "unknown source 'digit', expected digits, glyphs, .*; did you mean digits?"),
        ("nzp:file.npz", "did you mean npz:FILE?"),
        ("quantum", r"unknown source 'quantum', expected .*, npz:FILE, .* @test$"),
        ("", "unknown source ''"),
        ("npz:", "unknown source 'npz:'"),
        ("npz", "unknown source 'npz'"),
        ("digits:8", "unknown source 'digits:8'"),
        ("digits@vaild", "unknown split @vaild in 'digits@vaild', .*; did you mean @valid?"),
        ("digits@", "unknown split @ in"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(ValueError, match=message):
        load_source(source)


def test_a_path_may_hold_an_at_sign(tmp_path):
    path = tmp_path / "me@home"
    path.mkdir()
    source = save(path / "d.npz", x=ROWS, y=[0, 1, 0, 1])
    assert len(load_source(source)[0]) == 4
    write_images(tmp_path / "pets@work" / "a", 2)
    assert len(load_source(f"folder:{tmp_path / 'pets@work'}")[0]) == 2


def test_bad_splits(tmp_path):
    few = save(tmp_path / "few.npz", x=np.zeros((10, 2), np.float32), y=np.arange(10) % 5)
    with pytest.raises(ValueError, match=r"npz:few\.npz: classes are 5 in number, expected at least 6 .*drop @train"):
        load_source(f"{few}@train")
    odd = save(tmp_path / "odd.npz", x=ROWS, y=[0, 1, 0, 1], split=[0, 1, 2, 3])
    with pytest.raises(ValueError, match=r"npz:odd.npz: split holds \[0, 1, 2, 3\], expected"):
        load_source(f"{odd}@train")
    two = save(tmp_path / "two.npz", **tables(2))
    with pytest.raises(ValueError, match="table families are 2 in number, expected at least 3"):
        load_source(f"{two}@train")


def test_sizes_below_one():
    with pytest.raises(ValueError, match="image size -1, expected 1 or more"):
        load_source("digits", size=-1)


# -- of one's own -----------------------------------------------------------------------------------------------------

OWN = """
import numpy as np

from tasks.data.contract import DataSource
from tasks.data.raw import RawData


class Mine(DataSource):
    def read(self):
        return [RawData("mine", np.eye(16, dtype=np.float32), np.arange(16) // 2, tuple("abcdefgh"))]


class Broken(DataSource):
    def read(self):
        return 1 / 0


class Empty(DataSource):
    def read(self):
        return []
"""


def test_a_source_of_ones_own_is_a_class_in_a_module(own_module):
    module = own_module(OWN)
    (whole,), (train,), (test,) = (load_source(f"{module}:Mine{part}") for part in ("", "@train", "@test"))
    assert (whole.name, whole.class_names, len(whole)) == ("mine", tuple("abcdefgh"), 16)
    assert {*train.class_names, *test.class_names} < set("abcdefgh")
    assert not {*train.class_names} & {*test.class_names}
    for name, said in {
        "Broken": r"cannot be read: ZeroDivisionError",
        "Empty": r"read\(\) gives \[\], expected a list of RawData",
        "None": r"expected a class there that derives from DataSource",
    }.items():
        with pytest.raises(ValueError, match=said):
            load_source(f"{module}:{name}")
    with pytest.raises(ValueError, match=r"unknown source 'nowhere_at_all:Mine', expected .*or my_module:MyData"):
        load_source("nowhere_at_all:Mine")
