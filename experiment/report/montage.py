"""Many small pictures as one."""

import math

import numpy as np
from numpy.typing import NDArray


def montage(fields: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One grey picture, uint8 [H, W], of ``fields`` [N, H, W], each scaled to its own largest weight; 0 is mid-grey."""
    count, height, width = fields.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), 255, np.uint8)
    for index, field in enumerate(fields):
        row, column = divmod(index, columns)
        scaled = field / max(float(np.abs(field).max()), 1e-12)
        top, left = row * (height + 1), column * (width + 1)
        canvas[top : top + height, left : left + width] = np.round(127.5 * (1 + scaled)).astype(np.uint8)
    return canvas
