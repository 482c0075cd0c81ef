import unicodedata
from dataclasses import replace
from math import radians

import numpy as np
import pytest
import torch

from tasks.data import glyphs
from tasks.data.glyph_fonts import CYRILLIC, GREEK, HERSHEY_KEYS, LATIN, OutlineFont, StrokeFont, candidates, fonts
from tasks.data.glyphs import BOX, SIDE, Jitter, jitters, render
from tasks.data.raw import RawData
from tasks.data.sources import load_source


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder that holds the one rendering of this file."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def rendered(cache):
    return load_source("glyphs")[0]


def two_classes():
    """Data in the form of the rendered ones, but with nothing on the images."""
    images = np.zeros((80, SIDE, SIDE), np.uint8)
    return RawData("glyphs", images, np.repeat([0, 1], 40), ("a", "b"), np.zeros(80, int))


def test_many_letters_and_no_digits(rendered):
    assert rendered.classes >= 150
    assert len(set(rendered.class_names)) == rendered.classes
    for character in rendered.class_names:
        assert unicodedata.category(character)[0] == "L"
        assert unicodedata.numeric(character, None) is None
    scripts = {unicodedata.name(character).split()[0] for character in rendered.class_names}
    assert {"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN"} <= scripts


def test_images_are_bright_on_dark_and_of_mnist_size(rendered):
    assert rendered.image_shape == (SIDE, SIDE)
    assert torch.bincount(rendered.y).unique().tolist() == [40]
    images = rendered.x.view(-1, SIDE, SIDE)
    assert images.amax((1, 2)).min() > 0.5
    assert 0.1 < images.mean() < 0.25
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert border.max() == 0
    ink = images > 0.3
    lines = torch.stack([ink.any(axis) for axis in (1, 2)]).int()
    extents = (SIDE - lines.argmax(2) - lines.flip(2).argmax(2)).amax(0)  # first to last inked row or column
    assert 19.5 <= extents.float().mean() <= 21
    assert extents.min() >= 16
    assert extents.max() <= 24


def test_classes_vary_by_font_and_look_unlike_one_another(rendered):
    assert rendered.group is not None
    for label in range(rendered.classes):
        assert len(rendered.group[rendered.y == label].unique()) >= 9
    means = torch.stack([rendered.x[rendered.y == label].mean(0) for label in range(rendered.classes)])
    means -= means.mean(1, keepdim=True)
    means /= means.norm(dim=1, keepdim=True)
    alike = means @ means.T - 2 * torch.eye(len(means))
    assert alike.max() < 0.985  # jittered means are blurred, so more alike than the upright ones compared in the choice
    names = set(rendered.class_names)
    for pair in ("Oo", "Cc", "AА", "HН", "Зз", "Il", "θ", "б"):
        assert len(names & set(pair)) < len(pair)


def test_the_cache_is_read_and_remade_when_damaged(cache, rendered, monkeypatch):
    path = next((cache / "unsupervised-update-rules").iterdir())
    assert path.suffix == ".npz"

    def no_rendering(generator):
        raise RuntimeError("rendered")

    monkeypatch.setattr(glyphs, "draw_glyphs", no_rendering)
    assert load_source("glyphs")[0].fingerprint == rendered.fingerprint
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"not a zip file"):
        path.write_bytes(damaged)
        with pytest.raises(RuntimeError, match="rendered"):
            load_source("glyphs")
    data = glyphs.RawData(
        "glyphs", np.zeros((80, 28, 28), np.uint8), np.repeat([0, 1], 40), ("a", "b"), np.zeros(80, int)
    )
    monkeypatch.setattr(glyphs, "draw_glyphs", lambda generator: data)
    assert load_source("glyphs")[0].class_names == ("a", "b")
    with np.load(path) as z:
        assert z["class_names"].tolist() == ["a", "b"]
    assert [left.name for left in path.parent.iterdir()] == [path.name]
    path.write_bytes(whole)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(glyphs, "draw_glyphs", lambda generator: two_classes())
    (tmp_path / "file").write_text("in the way of the folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_source("glyphs")[0].classes == 2

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    load_source("glyphs")
    (cached,) = (tmp_path / "unsupervised-update-rules").iterdir()
    cached.unlink()
    cached.mkdir()  # in the way of the file
    assert load_source("glyphs")[0].classes == 2
    assert list(cached.parent.iterdir()) == [cached]


def test_split_is_by_character(rendered):
    parts = [set(load_source(f"glyphs@{split}")[0].class_names) for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == rendered.classes
    assert set.union(*parts) == set(rendered.class_names)


def test_candidates_are_in_enough_fonts():
    everywhere = [set(font.characters) for font in fonts()]
    assert all(sum(c in font for font in everywhere) >= 9 for c in candidates())
    assert not set("0123456789٣०") & set(candidates())


def test_stroke_fonts_have_the_letters_they_are_said_to_have():
    for keys, values in HERSHEY_KEYS.values():
        assert len(keys) == len(values) == len(set(keys))

    def coarse(font, character):
        image = render(font.draw(character), Jitter(weight=1.0)).astype(float).reshape(7, 4, 7, 4).mean((1, 3)).ravel()
        return (image - image.mean()) / image.std()

    # An alphabet in strokes is more like itself in outlines than like itself moved on by any number of letters.
    for stroke, letters in (("greeks", GREEK), ("cyrilc_1", CYRILLIC), ("timesr", LATIN)):
        strokes = np.stack([coarse(StrokeFont(stroke), c) for c in letters])
        outlines = np.stack([coarse(OutlineFont("DejaVuSerif"), c) for c in letters])
        alike = [(strokes * np.roll(outlines, places, axis=0)).mean() for places in range(len(letters))]
        assert alike[0] > max(alike[1:]) + 0.03


@pytest.mark.parametrize("drawing", [OutlineFont("DejaVuSans").draw("L"), StrokeFont("futural").draw("L")])
def test_jitter(drawing):
    def picture(**changes):
        return render(drawing, replace(Jitter(), **changes)).astype(float)

    def middle(image):
        rows, columns = np.nonzero(image > 80)
        return np.array([columns.min() + columns.max() + 1, rows.min() + rows.max() + 1]) / 2

    upright = picture()
    rows, columns = np.nonzero(upright > 80)
    assert abs(rows.max() - rows.min() + 1 - BOX) <= 1
    np.testing.assert_allclose(middle(upright), [14, 14], atol=0.6)
    np.testing.assert_allclose(middle(picture(shift=(3.0, -2.0))), [17, 12], atol=0.6)
    assert picture(weight=1.0).sum() > 1.1 * picture(weight=0.0).sum()
    wide = np.nonzero(picture(stretch=1.25) > 80)[1]
    assert np.ptp(wide) > np.ptp(columns)
    # An L turned clockwise, with y downwards, has its top to the right of where it stood.
    turned = picture(angle=radians(10))
    assert np.nonzero(turned[np.nonzero(turned > 80)[0].min()] > 80)[0].mean() > columns.min() + 2
    leaning = picture(shear=-0.3)
    assert np.nonzero(leaning[rows.min()] > 80)[0].mean() > np.nonzero(leaning[rows.max() - 4] > 80)[0].min() + 2


def test_jitters_stay_in_range_and_follow_the_generator():
    made = jitters(200, torch.Generator().manual_seed(1))
    assert made == jitters(200, torch.Generator().manual_seed(1))
    assert max(abs(j.angle) for j in made) <= radians(10)
    assert max(max(j.stretch, 1 / j.stretch) for j in made) <= 1.12
    assert max(abs(j.shear) for j in made) <= 0.12
    assert max(abs(s) for j in made for s in j.shift) <= 1
    assert {j.weight < 0.5 for j in made} == {True, False}
