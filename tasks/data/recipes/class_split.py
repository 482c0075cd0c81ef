"""Which classes of a built set train, validate and test."""

import numpy as np

from tasks.data.raw import Array


def class_split(classes: int, seed: int) -> Array:
    """Int8 [classes], shuffled by ``seed``: 70 % are 0 (train), 20 % are 2 (test), the rest 1 (validation)."""
    order = np.random.default_rng(seed).permutation(classes)
    part = np.ones(classes, np.int8)
    part[order[: round(0.7 * classes)]] = 0
    part[order[classes - round(0.2 * classes) :]] = 2
    return part
