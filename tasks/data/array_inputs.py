"""Arrays of other programs as inputs that ``RawData`` can hold: images by the meaning of their axes and values."""

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured

from common.notice import notice
from tasks.data.pixel_values import DEEP, behind, divisor, say_if_dark
from tasks.data.raw import ROUNDING, Array


def as_inputs(name: str, x: Array) -> Array:
    """``x`` as [n, D], [n, h, w] or [n, h, w, 3] of the values that ``RawData`` asks for.

    Columns of a structured array become those of a table, whole numbers some of which are negative become floats, and
    images are treated as ``_images`` says. What can be nothing of the kind is left for ``to_inputs`` to refuse. Raises
    ValueError for complex numbers, text and dates, and for values that no images have.
    """
    if x.dtype.names is not None and all(x.dtype[column].kind in "iubf" for column in x.dtype.names):
        x = np.asarray(structured_to_unstructured(x, dtype=np.float64))
    if x.dtype.kind not in "iubf":
        hint = "store the real and imaginary parts" if x.dtype.kind == "c" else "write text and dates as csv:FILE"
        raise ValueError(f"{name}: x is {x.dtype} {list(x.shape)}, expected real numbers; {hint}")
    if x.dtype.kind == "f" and x.dtype.itemsize > 8:
        x = x.astype(np.float64)
    if x.ndim in (3, 4) and x.size:
        return _images(name, x)
    if x.ndim == 2 and x.dtype.kind == "i" and x.size and x.min() < 0:
        notice(f"{name}: x holds whole numbers down to {x.min()}: read as they are, not as counts")
        return x.astype(np.float64)
    return x


def _images(name: str, x: Array) -> Array:
    """Images [n, h, w] or, with 1, 3 or 4 (RGBA) channels, [n, h, w, c] or [n, c, h, w], as uint8 or floats in [0, 1].

    bool is 0 and 255, uint16 is divided by 65535, and other numbers by what ``divisor`` finds; -1 to 1 become 0 to 1.
    """
    if x.ndim == 4:
        x = _channels_last(name, x)
    x = _scaled(name, x)
    return _without_alpha(name, x) if x.shape[3:] == (4,) else x


def _channels_last(name: str, x: Array) -> Array:
    """``x`` [n, h, w, c] or [n, c, h, w] as [n, h, w, 3 or 4], or [n, h, w] for one channel."""
    first, height, last = x.shape[1:]
    if last == 4 and first in (1, 3) and height != last:
        raise ValueError(f"{name}: x is {list(x.shape)}, which may have 4 channels or {first}; store [n, h, w, 3]")
    if last not in (1, 3, 4) or (last == 4 and first in (1, 3)):
        x = np.moveaxis(x, 1, 3) if first in (1, 3, 4) else x
    return x[..., 0] if x.shape[3] == 1 else x


def _scaled(name: str, x: Array) -> Array:
    """``x`` as uint8, or as floats from 0 to 1; unchanged where values are not finite."""
    if x.dtype == np.bool_:
        return x.astype(np.uint8) * np.uint8(255)
    low, high = float(x.min()), float(x.max())
    if x.dtype == np.uint8:
        say_if_dark(name, high, 255)
        return x
    if x.dtype == np.uint16:
        say_if_dark(name, high, DEEP)
        return x.astype(np.float32) / np.float32(DEEP)
    if not np.isfinite([low, high]).all():
        return x
    if x.dtype.kind == "f" and -1 - ROUNDING <= low < -ROUNDING and high <= 1 + ROUNDING:
        notice(f"{name}: image values run from {low:g} to {high:g}: read as from -1, which becomes 0, to 1")
        return (x.astype(np.float32) + 1) / 2
    white = divisor(name, low, high)
    if white == 1:
        return x if x.dtype.kind == "f" else x.astype(np.float32)
    return x.astype(np.uint8) if white == 255 and x.dtype.kind != "f" else x.astype(np.float32) / np.float32(white)


def _without_alpha(name: str, x: Array) -> Array:
    """RGBA ``x`` [n, h, w, 4] on black or white, [n, h, w, 3] of its kind of values; with a notice."""
    notice(f"{name}: the 4 channels of x are read as red, green, blue and how opaque a pixel is")
    white = 255 if x.dtype == np.uint8 else 1
    colour, alpha = x[..., :3].astype(np.float32) / white, x[..., 3:].astype(np.float32) / white
    on_black = colour * alpha
    if behind(name, on_black, (image + 1 - a for image, a in zip(on_black, alpha, strict=True))) == "white":
        on_black += 1 - alpha
    return np.rint(on_black * 255).astype(np.uint8) if white == 255 else on_black
