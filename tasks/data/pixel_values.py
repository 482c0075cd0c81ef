"""What the values of pixels mean where their type does not say: their scale, and what lies behind transparent parts."""

from collections.abc import Iterable

import numpy as np

from common.notice import notice
from tasks.data.raw import ROUNDING, Array

DIM = 16
"""The largest value of images of few levels of grey, which are of no scale that others have."""
DEEP = 65535
"""White in 16 bits."""
CAMERA = 4095
"""White in 12 bits, which cameras store in files of 16."""


def divisor(name: str, low: float, high: float) -> int:
    """1, 255 or 65535: white among values from ``low`` to ``high`` whose type has none; a notice where it is not 1.

    Raises ValueError for negative values and for those of no usual scale.
    """
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return 1
    if low < -ROUNDING or not DIM < high <= DEEP:
        raise ValueError(
            f"{name}: image values run from {low:g} to {high:g}, expected 0 to 1, 0 to 255 or 0 to 65535; "
            "scale them to lie from 0 to 1"
        )
    white = 255 if high <= 255 else DEEP
    notice(
        f"{name}: image values, up to {high:g}, are divided by {white}; scale them to lie from 0 to 1 if that is wrong"
    )
    return white


def say_if_dark(name: str, high: float, white: int) -> None:
    """A notice where ``high``, the largest value in images of which ``white`` is white, leaves all of them dark."""
    if 0 < high <= (CAMERA if white == DEEP else DIM):
        notice(
            f"{name}: the largest value is {high:g}, and all are divided by {white}; scale them up if that is too dark"
        )


def behind(name: str, on_black: Iterable[Array], on_white: Iterable[Array]) -> str:
    """ "black" or, with a notice, "white": where transparent parts are filled with it, shapes stay visible.

    It is white where that leaves more than twice the variance within images, so that most data are as on black.
    """
    black, white = (float(np.sum([image.var() for image in images])) for images in (on_black, on_white))
    if white <= 2 * black:
        return "black"
    notice(f"{name}: transparent parts are filled with white, since on black little would be seen of the images")
    return "white"
