"""Augmentations: shapes and ranges for every one, and what each does to images whose answer is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.augmentations import (
    AUGMENTATIONS,
    brightness,
    crop,
    cut_out,
    flip,
    grey,
    parse_augmentation,
    rotate,
    shear,
    shift,
    stretch,
    warp,
    zero_pixels,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", AUGMENTATIONS)
@settings(deadline=None, max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    colour=st.booleans(),
    strength=st.floats(0.01, 0.5),
    seed=st.integers(0, 99),
)
def test_images_stay_images_and_the_seed_decides(
    name: str, shape: tuple[int, ...], colour: bool, strength: float, seed: int
) -> None:
    images = torch.rand(*shape, *((3,) if colour else ()), generator=seeded(seed))
    before = images.clone()
    augment = parse_augmentation(f"{name}={strength}")
    first, again = augment(images, seeded(seed)), augment(images, seeded(seed))
    assert torch.equal(first, again)
    assert torch.equal(images, before)
    assert first.shape == images.shape
    assert first.dtype == images.dtype
    assert float(first.min()) >= 0
    assert float(first.max()) <= 1 + 1e-6


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name not in ("flip", "grey")])
def test_each_image_has_its_own_draw_and_a_weak_one_changes_little(name: str) -> None:
    smooth = torch.linspace(0.2, 0.8, 28).expand(200, 28, 28)
    changed = AUGMENTATIONS[name](smooth, seeded(), 0.4)
    assert len(changed.flatten(1).unique(dim=0)) > 50
    weak = AUGMENTATIONS[name](smooth, seeded(), 0.001)
    assert float((weak - smooth)[:, 2:-2, 2:-2].abs().mean()) < 0.01


def test_pixels_are_zeroed_at_the_rate_asked_in_all_colours() -> None:
    zeroed = zero_pixels(torch.ones(50, 20, 20, 3), seeded(), 0.3)
    assert float((zeroed == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert torch.equal(zeroed.amin(3), zeroed.amax(3))


def test_shifts_are_whole_pixels_of_every_size_up_to_the_most() -> None:
    image = torch.zeros(400, 9, 9)
    image[:, 4, 4] = 1
    moved = shift(image, seeded(), 2 / 9)
    assert torch.equal(moved.sum((1, 2)), torch.ones(400))
    places = {divmod(place, 9) for place in moved.flatten(1).argmax(1).tolist()}
    assert places == {(row, column) for row in range(2, 7) for column in range(2, 7)}


def test_what_leaves_by_a_shift_does_not_come_back() -> None:
    edge = torch.zeros(100, 5, 5)
    edge[:, 0] = 1
    moved = shift(edge, seeded(), 0.4)
    assert float(moved[:, 3:].abs().max()) == 0
    assert float(moved.sum((1, 2)).min()) == 0


@pytest.mark.parametrize("shape", [(21, 21), (15, 31)])
def test_a_rotation_keeps_the_centre_and_the_distance_from_it_in_pixels(shape: tuple[int, int]) -> None:
    height, width = shape
    image = torch.zeros(60, height, width)
    image[:, height // 2, width // 2 + 5] = 1
    turned = rotate(image, seeded(), 0.5)
    rows = torch.arange(height)[:, None] - height // 2
    columns = torch.arange(width)[None, :] - width // 2
    mass = turned.sum((1, 2))
    assert float(mass.min()) > 0.7
    places = torch.stack([(turned * rows).sum((1, 2)), (turned * columns).sum((1, 2))]) / mass
    torch.testing.assert_close(torch.linalg.vector_norm(places, dim=0), torch.full((60,), 5.0), rtol=0, atol=0.3)
    assert float(places.std(1).min()) > 2  # all around


def test_cut_out_removes_a_square_of_the_side_asked() -> None:
    cut = cut_out(torch.ones(300, 20, 20), seeded(), 0.3)
    removed = (cut == 0).sum((1, 2))
    assert int(removed.max()) == 36
    assert int(removed.min()) >= 9  # a centre in a corner leaves a quarter


def test_a_crop_enlarges_a_window_that_lies_anywhere_in_the_image() -> None:
    ramp = torch.linspace(-1, 1, 41).expand(300, 41, 41) * 0.5 + 0.5
    cropped = crop(ramp, seeded(), 0.5)
    inner = cropped[:, 20, 2:-2]
    slopes = (inner[:, -1] - inner[:, 0]) / 36 * 40
    torch.testing.assert_close(inner.diff(dim=1), (slopes / 40)[:, None].expand(-1, 36), rtol=0, atol=1e-4)  # straight
    assert float(slopes.min()) == pytest.approx(0.5, abs=0.02)
    assert float(slopes.max()) == pytest.approx(1.0, abs=0.02)
    assert float(cropped[:, 20, 20].min()) < 0.3  # the window's centre is not always that of the image
    assert float(cropped[:, 20, 20].max()) > 0.7


def test_a_stretch_is_of_each_axis_by_itself_about_the_centre() -> None:
    across = torch.linspace(-1, 1, 41).expand(300, 41, 41) * 0.2 + 0.5
    slopes = [
        stretched[:, 20, 25] - stretched[:, 20, 15]
        for stretched in (
            stretch(across, seeded(), 0.4),
            stretch(across.transpose(1, 2), seeded(), 0.4).transpose(1, 2),
        )
    ]
    factors = torch.stack([0.1 / slope for slope in slopes])  # the ramp is so much flatter where it is wider
    assert float(factors.min()) == pytest.approx(0.6, abs=0.02)
    assert float(factors.max()) == pytest.approx(1.4, abs=0.02)
    assert abs(float(torch.corrcoef(factors)[0, 1])) < 0.2
    torch.testing.assert_close(stretch(across, seeded(), 0.4)[:, 20, 20], torch.full((300,), 0.5))


@pytest.mark.parametrize("shape", [(41, 41), (21, 41)])
def test_a_shear_moves_rows_sideways_in_proportion_to_their_height(shape: tuple[int, int]) -> None:
    ramp = torch.arange(shape[1], dtype=torch.float32).expand(200, *shape) / shape[1]
    moved = (shear(ramp, seeded(), 0.3) - ramp)[:, :, shape[1] // 2] * shape[1]  # in pixels
    middle = shape[0] // 2
    torch.testing.assert_close(moved[:, middle], torch.zeros(200), rtol=0, atol=1e-4)
    slants = (moved[:, middle + 5] - moved[:, middle]) / 5
    torch.testing.assert_close(moved[:, middle - 8], -8 * slants, rtol=0, atol=1e-3)
    assert float(slants.min()) == pytest.approx(-0.3, abs=0.02)
    assert float(slants.max()) == pytest.approx(0.3, abs=0.02)


def test_a_warp_moves_each_place_a_little_and_neighbours_alike() -> None:
    ramp = torch.linspace(0, 1, 41).expand(100, 41, 41)
    moved = (warp(ramp, seeded(), 0.05) - ramp)[:, 8:-8, 8:-8]
    assert 0.02 < float(moved.abs().amax((1, 2)).mean()) <= 0.07
    assert float(moved.diff(dim=1).abs().max()) < 0.02
    assert float(moved.flatten(1).std(1).mean()) > 0.005  # not one shift of the whole image


def test_flips_and_grey_images_come_at_the_rate_asked() -> None:
    images = torch.rand(1000, 3, 4, 3, generator=seeded())
    flipped = flip(images, seeded(1), 0.3)
    mirrored = (flipped == images.flip(2)).flatten(1).all(1)
    assert float(mirrored.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(flipped[~mirrored], images[~mirrored])
    greyed = grey(images, seeded(1), 0.3)
    chosen = (greyed == greyed[..., :1]).flatten(1).all(1)
    assert float(chosen.float().mean()) == pytest.approx(0.3, abs=0.05)
    torch.testing.assert_close(greyed[chosen][..., 0], images[chosen].mean(3))
    assert torch.equal(greyed[~chosen], images[~chosen])
    assert torch.equal(grey(images[..., 0], seeded(1), 0.3), images[..., 0])


def test_brightness_is_one_factor_an_image() -> None:
    factors = brightness(torch.full((500, 4, 4, 3), 0.5), seeded(), 0.4).flatten(1) / 0.5
    assert torch.equal(factors.amin(1), factors.amax(1))
    assert float(factors.min()) == pytest.approx(0.6, abs=0.01)
    assert float(factors.max()) == pytest.approx(1.4, abs=0.01)
    assert float(brightness(torch.ones(50, 2, 2), seeded(), 0.9).max()) == 1


def test_identity_changes_nothing_and_steps_follow_each_other() -> None:
    images = torch.rand(3, 6, 6, generator=seeded())
    for text in ("identity", " identity "):
        assert torch.equal(parse_augmentation(text)(images, seeded()), images)
    both = parse_augmentation("zero_pixels=0.5, shift=0.2")(images, seeded(1))
    generator = seeded(1)
    assert torch.equal(both, shift(zero_pixels(images, generator, 0.5), generator, 0.2))


@pytest.mark.parametrize(
    "text", ["", "shift", "shift=0", "shift=1", "shift=x", "shift=nan", "blur=0.2", "rotate=0.7", "shift=0.1,,crop=0.1"]
)
def test_what_is_no_augmentation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"got augmentation .*expected identity, or NAME=STRENGTH"):
        parse_augmentation(text)
