"""One image file as pixels."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

from tasks.data.pixel_values import DEEP
from tasks.data.raw import Array

EXTENSIONS = frozenset(
    {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"}
    | {".pgm", ".ppm", ".pbm", ".pnm", ".pfm"}
    | ({".jp2", ".j2k", ".jpx"} if features.check("jpg_2000") else set())
    | ({".avif"} if features.check("avif") else set())
)
"""How the names of image files end, in small letters."""

FIRST = "hold several pictures, of which the first is read"
COARSER = "hold 16-bit colours, which are read with 8 bits"
OPAQUE = "hold transparency and more than 8 bits a value, and are read without the transparency"


@dataclass(frozen=True, eq=False)
class Picture:
    """``pixels`` [h, w] or [h, w, 3], uint8; float32 where the file holds more ``bits`` a value than 8.

    16 bits are divided by 65535; 32 are as in the file, whose values run from ``low`` to ``high``. Transparent parts
    are black, in ``on_white`` white; that is None where there are none. ``remarks`` say what the file held besides.
    """

    pixels: Array
    on_white: Array | None = None
    bits: int = 8
    low: float = 0
    high: float = 255
    remarks: tuple[str, ...] = field(default=())


def read_picture(path: Path, size: int | None) -> Picture:
    """The image in the file at ``path``, turned as its EXIF data say, resized to ``size`` × ``size`` if given.

    Raises ValueError for a file that is no image or too large for Pillow, OSError for one that cannot be opened.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on oddities that do not touch the pixels
            # Not by its name: Pillow would map an uncompressed TIFF that lies on its side as if it stood.
            with path.open("rb") as opened, Image.open(opened) as file:
                return _picture(file, size)
    except MemoryError:
        raise
    except Image.DecompressionBombError as error:
        limit = str(error).partition(",")[0].replace("Image", "image")
        raise ValueError(f"{path}: {limit} of Pillow; make the image smaller first") from None
    except Exception as error:  # on damaged files the decoders raise nearly anything
        if isinstance(error, OSError) and error.errno is not None:
            raise
        why = "" if isinstance(error, Image.UnidentifiedImageError) else f" ({' '.join(str(error).split())})"
        raise ValueError(f"{path}: not an image that can be read, or a damaged one{why}") from None


def _picture(file: Image.Image, size: int | None) -> Picture:
    remarks = []
    if file.format != "MPO" and getattr(file, "is_animated", False):  # the others in an MPO are previews
        remarks.append(FIRST)
    if file.mode in ("RGB", "RGBA", "LA") and ";16" in str(getattr(file, "tile", "")):
        remarks.append(COARSER)
    file.load()
    image = _upright(file)
    if image.mode.startswith(("I", "F")):
        if image.has_transparency_data:
            remarks.append(OPAQUE)
        deep = image.mode.startswith("I;16") or (file.format == "PPM" and image.mode == "I")  # scaled to 65535
        values = np.asarray(image).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        values = values / np.float32(DEEP) if deep else values
        if size is not None:
            values = np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR))
        return Picture(values, None, 16 if deep else 32, low, high, tuple(remarks))
    on_black, on_white = _eight_bits(image)
    pixels = _pixels(on_black, size)
    return Picture(pixels, None if on_white is None else _pixels(on_white, size), remarks=tuple(remarks))


def _upright(image: Image.Image) -> Image.Image:
    """``image`` as it is to be looked at; as it is where its EXIF data are damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image.copy()


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """``image`` as L or RGB on black and, if any of it is transparent, on white."""
    if image.mode in ("P", "PA") or image.has_transparency_data:
        image = image.convert("RGBA")
        backs = [Image.new("RGBA", image.size, (value, value, value, 255)) for value in (0, 255)]
        on_black, on_white = (Image.alpha_composite(back, image).convert("RGB") for back in backs)
        return on_black, None if image.getchannel("A").getextrema()[0] == 255 else on_white
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image, None


def _pixels(image: Image.Image, size: int | None) -> Array:
    """uint8 [h, w], or [h, w, 3] if there is any colour."""
    if size is not None:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    grey = pixels.ndim == 3 and bool((pixels == pixels[:, :, :1]).all())
    return pixels[:, :, 0] if grey else pixels
