"""Arrays as other programs store them: what x becomes."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from common.notice import Notice
from tasks.data.npz_source import read_npz
from tasks.data.sources import load_inputs, load_source

Any2 = NDArray[np.generic]
GREY = np.arange(5 * 8 * 8, dtype=np.uint8).reshape(5, 8, 8)
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def inputs_of(tmp_path: Path, x: object) -> tuple[Any2, tuple[int, ...] | None]:
    """The inputs [n, D] that ``x`` becomes, and their image shape."""
    np.savez(tmp_path / "a.npz", x=x)
    inputs, shape, *_ = load_inputs(f"npz:{tmp_path / 'a.npz'}")
    return inputs.numpy(), shape


SAME_IMAGES = {
    "channels first": (COLOUR.transpose(0, 3, 1, 2), COLOUR),
    "one channel last": (GREY[..., None], GREY),
    "one channel first": (GREY[:, None], GREY),
    "Fortran order": (np.asfortranarray(COLOUR), COLOUR),
    "turned over": (GREY[::-1, ::-1], GREY[::-1, ::-1]),
    "three high": (COLOUR[:, :3], COLOUR[:, :3]),
    "of 4 × 4, channels first": (COLOUR[:, :4, :4].transpose(0, 3, 1, 2), COLOUR[:, :4, :4]),
    "bool": (GREY > 127, np.where(GREY > 127, 255, 0)),
    "uint16": (GREY.astype(np.uint16) * 257, GREY),
    "big-endian uint16": (GREY.astype(">u2") * 257, GREY),
    "float16": ((GREY / 255).astype(np.float16), (GREY / 255).astype(np.float16).astype(float) * 255),
    "float to 1.0000001": (GREY / 255 * 1.0000001, GREY),
    "float from -0.0000001": (GREY / 255 - 1e-7, GREY),
}


@pytest.mark.parametrize("case", SAME_IMAGES)
def test_images_by_their_axes_and_types(tmp_path: Path, case: str) -> None:
    stored, meant = SAME_IMAGES[case]
    inputs, shape = inputs_of(tmp_path, stored)
    assert shape == meant.shape[1:]
    np.testing.assert_allclose(inputs.reshape(meant.shape), meant / 255, atol=2e-7)
    assert inputs.min() >= 0
    assert inputs.max() <= 1


SCALED = {
    "float to 255": (GREY.astype(np.float32), GREY, "up to 255, are divided by 255"),
    "int64": (GREY.astype(np.int64), GREY, "up to 255, are divided by 255"),
    "colour int32": (COLOUR.astype(np.int32), COLOUR, "up to 255, are divided by 255"),
    "uint32": (GREY.astype(np.uint32) * 257, GREY, "up to 65535, are divided by 65535"),
    "masks": (GREY // 128, GREY // 128, "largest value is 1, and all are divided by 255; scale them up"),
    "-1 to 1": (GREY / 127.5 - 1, GREY, "run from -1 to 1: read as from -1, which becomes 0, to 1"),
    "12 bits": (GREY.astype(np.uint16), GREY / 257, "largest value is 255, and all are divided by 65535"),
}


@pytest.mark.parametrize("case", SCALED)
def test_values_without_a_scale_of_their_own_are_scaled_and_said_so(tmp_path: Path, case: str) -> None:
    stored, meant, message = SCALED[case]
    with pytest.warns(Notice, match=message):
        inputs, shape = inputs_of(tmp_path, stored)
    assert shape == meant.shape[1:]
    np.testing.assert_allclose(inputs.reshape(meant.shape), meant / 255, atol=1e-6)


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
@pytest.mark.parametrize("white", [255, 1])
@pytest.mark.parametrize("first", [False, True])
def test_rgba_stays_visible(tmp_path: Path, white: int, first: bool) -> None:
    x = np.zeros((2, 4, 6, 4))
    x[:, 1:3, 1:3, 3] = white  # a black square, all in the alpha channel
    stored = x.transpose(0, 3, 1, 2) if first else x
    with pytest.warns(Notice, match="transparent parts are filled with white"):
        inputs, shape = inputs_of(tmp_path, stored.astype(np.uint8 if white == 255 else np.float32))
    assert shape == (4, 6, 3)
    np.testing.assert_array_equal(inputs.reshape(2, 4, 6, 3), np.repeat(1 - x[..., 3:] / white, 3, 3))
    x[..., :3] = white
    with pytest.warns(Notice, match="4 channels of x are read as red, green, blue and how opaque") as said:
        inputs, _ = inputs_of(tmp_path, x.astype(np.uint8 if white == 255 else np.float32))
    assert len(said) == 1
    np.testing.assert_array_equal(inputs.reshape(2, 4, 6, 3), np.repeat(x[..., 3:] / white, 3, 3))


TABLES = {
    "big-endian": (ROWS.astype(">f4"), ROWS),
    "Fortran order": (np.asfortranarray(ROWS), ROWS),
    "long double": (ROWS.astype(np.longdouble), ROWS),
    "float16": (ROWS.astype(np.float16), ROWS.astype(np.float16)),
    "structured": (np.array([(1, 2.5), (3, -4)], dtype=[("a", "i4"), ("b", "f8")]), [[1, 2.5], [3, -4]]),
    "big-endian counts": (np.array([[0, 1], [3, 7]], ">i4"), [[0, 1], [2, 3]]),
    "bool": (np.array([[True, False]]), [[1, 0]]),
    "uint64": (np.array([[2**63, 0]], np.uint64), [[63, 0]]),
}


@pytest.mark.parametrize("case", TABLES)
def test_tables_of_other_types(tmp_path: Path, case: str) -> None:
    stored, meant = TABLES[case]
    inputs, shape = inputs_of(tmp_path, stored)
    assert shape is None
    np.testing.assert_array_equal(inputs, np.asarray(meant, np.float32))


def test_whole_numbers_below_0_make_a_table_of_numbers(tmp_path: Path) -> None:
    x = np.array([[-3, 5], [2, 0]])
    with pytest.warns(Notice, match="x holds whole numbers down to -3: read as they are, not as counts"):
        inputs, _ = inputs_of(tmp_path, x)
    assert inputs.tolist() == x.tolist()


BAD = {
    "complex": (ROWS.astype(complex), r"x is complex128 \[5, 3\], expected real numbers; store the real"),
    "text": (np.full((5, 2), "a"), r"x is <U1 \[5, 2\], expected real numbers; write text and dates as csv:FILE"),
    "dates": (np.full((5, 2), np.datetime64("2024-01-01")), r"x is datetime64\[D\].*csv:FILE"),
    "text in columns": (np.array([(1, "a")], dtype=[("a", "i4"), ("b", "U1")]), "expected real numbers"),
    "objects": (np.array([{}], object), "array 'x' holds Python objects, expected numbers or strings"),
    "negative pixels": (GREY.astype(int) - 100, "image values run from -100 to 155, expected 0 to 1, 0 to 255 or"),
    "standardised images": (GREY / 100 - 1.1, "image values run from -1.1 to 1.45, expected"),
    "beyond rounding": (GREY / 250, "image values run from 0 to 1.02, expected"),
    "of 16 levels": (GREY / 16, "image values run from 0 to 15.9375, expected"),
    "two meanings": (COLOUR.transpose(0, 3, 1, 2)[..., :4], r"\[5, 3, 8, 4\], which may have 4 channels or 3; store"),
    "five axes": (COLOUR[..., None], r"x is uint8 \[5, 8, 6, 3, 1\], expected images"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_reasonable_reading_is_refused(tmp_path: Path, case: str) -> None:
    stored, message = BAD[case]
    with pytest.raises(ValueError, match=f"npz:a.npz: .*{message}|{message}") as caught:
        inputs_of(tmp_path, stored)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.npy", "disguised.npz"])
def test_a_single_array_is_unlabelled_inputs(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as file:
        np.save(file, GREY)
    inputs, shape, *_ = load_inputs(f"npz:{tmp_path / name}")
    assert shape == (8, 8)
    np.testing.assert_allclose(inputs.reshape(5, 8, 8), GREY / 255, atol=1e-7)
    with pytest.raises(ValueError, match=f"npz:{name}: no labels found"):
        load_source(f"npz:{tmp_path / name}")
    with (tmp_path / name).open("wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=f"{name}: holds Python objects, expected numbers or strings"):
        read_npz(str(tmp_path / name))
