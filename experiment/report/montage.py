"""Many small pictures as one."""

import math

import numpy as np
from numpy.typing import NDArray


def montage(fields: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One grey picture, uint8 [H, W], of ``fields`` [N, H, W], each scaled to its own largest weight; 0 is mid-grey."""
    count, height, width = fields.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    scaled = fields / np.maximum(np.abs(fields).max((1, 2), keepdims=True), 1e-12)
    tiles = np.full((rows * columns, height + 1, width + 1), 255, np.uint8)  # with a white line below and beside each
    tiles[:count, :height, :width] = np.round(127.5 * (1 + scaled))
    canvas = tiles.reshape(rows, columns, height + 1, width + 1).swapaxes(1, 2)
    return canvas.reshape(rows * (height + 1), columns * (width + 1))[:-1, :-1]
