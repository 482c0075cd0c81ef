"""Image files of every kind that people have: the pixels they become, and what is said about them."""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from common.notice import Notice
from tasks.data.folder_source import read_folder
from tasks.data.omniglot_source import read_omniglot
from tasks.data.raw import RawData
from tasks.data.sources import load_inputs

Pixels = NDArray[np.generic]
RAMP = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
DEEP_RAMP = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)


def save(folder: Path, image: Image.Image | Pixels, name: str, **options: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(folder / name, **options)


def read(folder: Path, size: int | None = None) -> RawData:
    (raw,) = read_folder(str(folder), size)
    return raw


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [6, 8, 3, 2])
def test_images_are_turned_as_their_exif_data_say(tmp_path: Path, ending: str, orientation: int) -> None:
    upright = np.zeros((32, 16), np.uint8)
    upright[:, :8] = 255  # a bar on the left
    back = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
    stored = Image.fromarray(upright).transpose(back.get(orientation, Image.Transpose.FLIP_LEFT_RIGHT))
    exif = Image.Exif()
    exif[0x0112] = orientation
    save(tmp_path, stored, f"0.{ending}", exif=exif, quality=100)
    save(tmp_path, upright, "1.png")
    x = read(tmp_path).x
    assert x.shape == (2, 32, 16)
    np.testing.assert_allclose(x[0].astype(int), upright, atol=8)


def test_damaged_exif_data_leave_an_image_as_it_is(tmp_path: Path) -> None:
    save(tmp_path, RAMP, "0.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert (read(tmp_path).x == RAMP).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_black_shape_is_seen_on_white_in_every_image_of_the_folder(tmp_path: Path, mode: str) -> None:
    alpha = np.zeros((2, 6, 6), np.uint8)
    alpha[0, 1:4, 1:3], alpha[1, 2:5, 2:5] = 255, 128
    for i, one in enumerate(alpha):
        shape = np.zeros((6, 6, len(mode)), np.uint8)
        shape[..., -1] = one
        save(tmp_path, shape, f"{i}.png")
    save(tmp_path, np.full((6, 6), 40, np.uint8), "opaque.png")
    with pytest.warns(Notice, match=r"transparent parts are filled with white, since on black little"):
        x = read(tmp_path).x
    np.testing.assert_array_equal(x[:2], 255 - alpha)
    assert (x[2] == 40).all()


def test_a_bright_shape_is_seen_on_black(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[:2, :, 3] = 0
    save(tmp_path, pixels, "0.png")
    assert read(tmp_path).x[0, :, 0].tolist() == [0, 0, 255, 255]


def test_a_transparent_value_of_grey_and_of_palettes_is_transparent(tmp_path: Path) -> None:
    grey = np.array([[200, 200], [90, 250]], np.uint8)
    save(tmp_path / "grey", grey, "0.png", transparency=200)
    assert read(tmp_path / "grey").x.tolist() == [[[0, 0], [90, 250]]]
    palette = Image.fromarray(COLOURS).quantize(4)
    save(tmp_path / "palette", palette, "0.png", transparency=palette.getpixel((1, 0)))
    assert read(tmp_path / "palette").x.tolist() == [[[[255, 0, 0], [0, 0, 0]], [[0, 0, 255], [255, 255, 0]]]]


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bits_are_divided_by_65535(tmp_path: Path, ending: str) -> None:
    save(tmp_path, DEEP_RAMP if ending != "pgm" else Image.fromarray(DEEP_RAMP.astype(np.int32)), f"0.{ending}")
    raw = read(tmp_path)
    assert raw.x.dtype == np.float32
    np.testing.assert_array_equal(raw.x[0], DEEP_RAMP.astype(np.float32) / np.float32(65535))
    inputs, shape, *_ = load_inputs(f"folder:{tmp_path}", size=4)
    assert shape == (4, 4)
    np.testing.assert_allclose(inputs.view(4, 4).mean(1), DEEP_RAMP.reshape(4, 4, 16).mean((1, 2)) / 65535, atol=0.04)


def test_big_endian_16_bits_and_8_bits_beside_them_have_one_scale(tmp_path: Path) -> None:
    big = Image.frombytes("I;16B", (16, 16), DEEP_RAMP.astype(">u2").tobytes())
    save(tmp_path, big, "0.tif")
    save(tmp_path, RAMP, "1.png")
    save(tmp_path, np.stack([RAMP, RAMP * 0, RAMP], 2), "2.png")
    x = read(tmp_path).x
    assert x.shape == (3, 16, 16, 3)
    for i, ramp in ((0, DEEP_RAMP / 65535), (1, RAMP / 255), (2, RAMP / 255)):
        np.testing.assert_allclose(x[i, :, :, 0], ramp, atol=1e-7)
    assert not x[2, :, :, 1].any()


def test_12_bits_in_a_file_of_16_are_said_to_be_dark(tmp_path: Path) -> None:
    save(tmp_path, DEEP_RAMP // 16, "0.png")
    with pytest.warns(Notice, match="largest value is 4095, and all are divided by 65535; scale them up"):
        x = read(tmp_path).x
    np.testing.assert_allclose(x[0], (DEEP_RAMP // 16) / 65535, atol=1e-7)


def test_masks_of_0_and_1_are_said_to_be_dark(tmp_path: Path) -> None:
    save(tmp_path, RAMP // 128, "0.png")
    with pytest.warns(Notice, match="largest value is 1, and all are divided by 255; scale them up"):
        assert (read(tmp_path).x == RAMP // 128).all()


def test_colours_of_16_bits_are_said_to_be_read_with_8(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 65535, 0, 257 * 7, 0, 257 * 9, 65535)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    (tmp_path / "0.png").write_bytes(png + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b""))
    with pytest.warns(Notice, match="1 of 1 files hold 16-bit colours, which are read with 8 bits, such as"):
        assert read(tmp_path).x.tolist() == [[[[255, 0, 7], [0, 9, 255]]]]


UNTYPED: dict[str, tuple[Callable[[Pixels], Pixels], float | None]] = {
    "floats to 1": (lambda ramp: (ramp / 255).astype(np.float32), None),
    "floats to 1 but for rounding": (lambda ramp: np.float32(1.0000001) * (ramp / 255).astype(np.float32), None),
    "floats to 255": (lambda ramp: ramp.astype(np.float32), 255),
    "integers to 255": (lambda ramp: ramp.astype(np.int32), 255),
    "integers to 65535": (lambda ramp: ramp.astype(np.int32) * 257, 65535),
    "floats to 65535": (lambda ramp: ramp.astype(np.float32) * 257, 65535),
}


@pytest.mark.filterwarnings("ignore::common.notice.Notice")
@pytest.mark.parametrize("case", UNTYPED)
def test_32_bits_are_scaled_by_what_the_whole_folder_holds(tmp_path: Path, case: str) -> None:
    make, white = UNTYPED[case]
    save(tmp_path, make(RAMP), "0.tif")
    save(tmp_path, make(RAMP // 16), "1.tif")  # dark, and to stay so
    if white is not None:
        with pytest.warns(Notice, match=f"image values, up to {white}, are divided by {white}; scale"):
            read(tmp_path)
    inputs, *_ = load_inputs(f"folder:{tmp_path}")
    np.testing.assert_allclose(inputs[0].view(16, 16), RAMP / 255, atol=2e-7)
    np.testing.assert_allclose(inputs[1].view(16, 16), (RAMP // 16) / 255, atol=2e-7)
    assert inputs.max() <= 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[-1, 5]], "image values run from -1 to 5, expected 0 to 1, 0 to 255 or 0 to 65535"),
        ([[0, 1.3]], "image values run from 0 to 1.3, expected"),
        ([[0, 1e6]], r"image values run from 0 to 1e\+06, expected"),
        ([[0, np.nan]], r"0\.tif: holds values that are NaN or infinite"),
    ],
)
def test_values_of_no_usual_scale_are_refused(tmp_path: Path, values: list[list[float]], message: str) -> None:
    save(tmp_path, np.array(values, np.float32), "0.tif")
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    cmyk = np.zeros((2, 2, 4), np.uint8)
    cmyk[0, 0, 0] = cmyk[0, 1, 1] = cmyk[1, 0, 3] = 255  # cyan, magenta, black, white
    save(tmp_path / "cmyk", Image.frombytes("CMYK", (2, 2), cmyk.tobytes()), "0.tif")
    expected = [[[0, 255, 255], [255, 0, 255]], [[0, 0, 0], [255, 255, 255]]]
    assert read(tmp_path / "cmyk").x.tolist() == [expected]
    lab = Image.frombytes("LAB", (2, 1), bytes([255, 0, 0, 138, 81, 70]))  # white and, all but, sRGB red
    save(tmp_path / "lab", lab, "0.tif")
    np.testing.assert_allclose(read(tmp_path / "lab").x[0].astype(int), [[[255, 255, 255], [255, 0, 0]]], atol=8)
    save(tmp_path / "ycbcr", Image.fromarray(COLOURS.repeat(16, 0).repeat(16, 1)), "0.jpg", quality=100)
    np.testing.assert_allclose(read(tmp_path / "ycbcr").x[0, 8::16, 8::16].astype(int), COLOURS, atol=8)
    save(tmp_path / "one_bit", Image.fromarray(RAMP > 127), "0.png")
    np.testing.assert_array_equal(read(tmp_path / "one_bit").x[0], np.where(RAMP > 127, 255, 0))


def test_grey_beside_colour_gets_three_equal_channels(tmp_path: Path) -> None:
    save(tmp_path / "a", RAMP[:2, :2], "0.png")
    save(tmp_path / "b", COLOURS, "0.png")
    x = read(tmp_path).x
    np.testing.assert_array_equal(x[0], np.repeat(RAMP[:2, :2, None], 3, 2))
    np.testing.assert_array_equal(x[1], COLOURS)


@pytest.mark.parametrize("ending", ["gif", "tif", "webp", "png"])
def test_of_several_pictures_in_a_file_the_first_is_read(tmp_path: Path, ending: str) -> None:
    frames = [Image.fromarray(np.roll(RAMP, i * 40)) for i in range(3)]
    options = {"lossless": True} if ending == "webp" else {}
    save(tmp_path, frames[0], f"0.{ending}", save_all=True, append_images=frames[1:], **options)
    with pytest.warns(Notice, match=rf"1 of 1 files hold several pictures, .* first is read, such as .*0\.{ending}"):
        x = read(tmp_path).x
    np.testing.assert_array_equal(x[0], RAMP)


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "A.JPG", "a.jp2", "a.avif", "a.PBM", "a.dib"])
def test_more_endings_are_read(tmp_path: Path, name: str) -> None:
    if not features.check({"a.jp2": "jpg_2000", "a.avif": "avif"}.get(name, "zlib")):
        pytest.skip("Pillow without it")
    image = Image.fromarray(np.repeat(np.array([0, 255], np.uint8), 16).reshape(2, 16))
    kinds = {"a.jfif": "JPEG", "a.jpe": "JPEG", "A.JPG": "JPEG", "a.PBM": "PPM"}
    save(tmp_path, image.convert("1") if name == "a.PBM" else image, name, format=kinds.get(name), quality=100)
    np.testing.assert_allclose(read(tmp_path).x[0].astype(int), np.asarray(image), atol=8)


def test_an_image_above_pillows_limit_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, RAMP, "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    message = r"large\.png: image size \(256 pixels\) exceeds limit of 200 pixels of Pillow; make the image smaller"
    with pytest.raises(ValueError, match=message):
        read(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 200)  # where Pillow warns, but reads
    assert (read(tmp_path).x == RAMP).all()


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    save(tmp_path / "a", COLOURS.repeat(9, 0).repeat(9, 1), "0.jpg")
    path = tmp_path / "a" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-200] if content is None else content)
    with pytest.raises(ValueError, match=r"a/0\.jpg: not an image that can be read, or a damaged one") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_omniglot_in_16_bits_has_bright_ink_too(tmp_path: Path) -> None:
    save(tmp_path / "Greek" / "character01", 65535 - DEEP_RAMP, "0.png")
    raw = read_omniglot(str(tmp_path), None, None)
    np.testing.assert_allclose(raw.x[0], DEEP_RAMP / 65535, atol=1e-6)
    assert raw.ids is not None
    assert raw.given is not None
    assert (raw.ids.tolist(), raw.given.tolist()) == (["Greek/character01/0.png"], ["Greek/character01"])
