import math

import pytest
import torch

from tasks.dataset import Dataset, of_classes, resize


def table(**changes):
    fields = {
        "name": "toy",
        "x": torch.arange(12.0).reshape(6, 2),
        "y": torch.tensor([0, 1, 2, 0, 1, 2]),
        "image_shape": None,
        "class_names": ("a", "b", "c"),
        "group": torch.tensor([5, 5, 5, 7, 7, 7]),
    }
    return Dataset(**{**fields, **changes})


def test_facts():
    data = table()
    assert (len(data), data.inputs, data.classes) == (6, 2, 3)


def test_fingerprint_tells_contents_apart():
    data = table()
    assert len(data.fingerprint) == 64
    assert data.fingerprint == table(name="other").fingerprint
    assert data.fingerprint != table(x=data.x + 1).fingerprint
    assert data.fingerprint != table(y=data.y.flip(0)).fingerprint


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(6, 2, dtype=torch.float64)}, r"toy: x is torch.float64 \[6, 2\], expected torch.float32"),
        ({"x": torch.zeros(6)}, r"expected torch.float32 \[examples, inputs\]"),
        ({"x": torch.zeros(0, 2), "y": torch.zeros(0, dtype=torch.int64)}, "toy: x has 0 examples"),
        ({"x": torch.full((6, 2), math.nan)}, "toy: 12 of 12 input values are NaN or infinite"),
        ({"x": torch.full((6, 2), math.inf)}, "toy: 12 of 12 input values are NaN or infinite"),
        ({"y": torch.zeros(5, dtype=torch.int64)}, r"toy: y is torch.int64 \[5\], expected torch.int64 \[6\]"),
        ({"y": torch.zeros(6)}, "toy: y is torch.float32"),
        ({"group": torch.zeros(5, dtype=torch.int64)}, "toy: group is"),
        ({"y": torch.tensor([0, 1, 3, 0, 1, 2])}, "classes run from 0 to 3, expected 0 to 2"),
        ({"y": torch.tensor([0, 1, -1, 0, 1, 2])}, "classes run from -1 to 2"),
        ({"y": torch.tensor([0, 1, 1, 0, 1, 1])}, "toy: class 'c' has no examples"),
        ({"image_shape": (2, 2)}, "image shape .* does not fit 2 inputs"),
        ({"image_shape": (1, 1, 2)}, "image shape .* does not fit 2 inputs"),
        ({"image_shape": (1, 2)}, "image values run from 0 to 11, expected 0 to 1"),
    ],
)
def test_bad_data_sets_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        table(**changes)


def test_of_classes_keeps_examples_and_renumbers():
    part = of_classes(table(), [2, 0])
    assert part.class_names == ("c", "a")
    assert part.x.tolist() == [[0, 1], [4, 5], [6, 7], [10, 11]]
    assert part.y.tolist() == [1, 0, 1, 0]
    assert part.group.tolist() == [5, 5, 7, 7]


@pytest.mark.parametrize("classes", [[], [0, 0], [3], [-1]])
def test_of_classes_wants_classes_that_exist(classes):
    with pytest.raises(ValueError, match="toy: got classes"):
        of_classes(table(), classes)


def test_resize_averages_when_shrinking():
    image = torch.zeros(1, 4, 4)
    image[0, :2, :2] = 1.0
    # Bilinear with antialias: a triangle of twice the output pixel's width, 3/8, 3/8, 1/8 of the nearest columns.
    inside = (3 / 8 + 3 / 8) / (7 / 8)
    outside = (1 / 8) / (7 / 8)
    expected = torch.outer(torch.tensor([inside, outside]), torch.tensor([inside, outside]))
    torch.testing.assert_close(resize(image, 2)[0], expected)


def test_resize_keeps_constants_and_colour_channels_apart():
    colours = torch.tensor([0.2, 0.5, 1.0]).expand(2, 5, 7, 3)
    small = resize(colours, 3)
    assert small.shape == (2, 3, 3, 3)
    torch.testing.assert_close(small, colours[:, :3, :3])


def test_resize_treats_each_colour_as_a_grey_image():
    images = torch.rand(2, 6, 8, 3, generator=torch.Generator().manual_seed(0))
    channels = [resize(images[..., channel], 4) for channel in range(3)]
    torch.testing.assert_close(resize(images, 4), torch.stack(channels, -1))


def test_resize_to_the_same_size_changes_nothing():
    images = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize(images, 6), images)


def test_resize_wants_a_positive_size():
    with pytest.raises(ValueError, match="image size 0"):
        resize(torch.zeros(1, 2, 2), 0)
