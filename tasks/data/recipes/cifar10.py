"""``cifar10``: photographs of ten kinds of things (Krizhevsky, 2009), each 2 × 2 pixels averaged."""

import numpy as np

from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
ARCHIVE = "cifar-10-binary.tar.gz"


def _build(files: Files, progress: Progress) -> Products:
    """Each record is a label and then three planes of SIDE × SIDE, red, green, blue."""
    path = files[ARCHIVE]
    batches = dict(read_members(path, r"(.*/)?(data_batch_\d|test_batch)\.bin"))
    if not batches:
        raise ValueError(f"{path}: holds no data_batch_1.bin, expected the binary version of CIFAR-10")
    images, labels, split = [], [], []
    for name in sorted(batches):  # data_batch_1 to 5, then test_batch
        records = np.frombuffer(batches[name], np.uint8)
        if len(records) % (1 + 3 * SIDE * SIDE):
            raise ValueError(f"{path}: {name} has {len(records)} bytes, expected whole records")
        records = records.reshape(-1, 1 + 3 * SIDE * SIDE)
        squares = records[:, 1:].reshape(-1, 3, SIDE // 2, 2, SIDE // 2, 2).mean((3, 5))
        images.append(np.rint(squares).astype(np.uint8).transpose(0, 2, 3, 1))
        labels.append(records[:, 0].astype(np.int64))
        split.append(np.full(len(records), "test" in name, np.int8))
    arrays = {"x": np.concatenate(images), "y": np.concatenate(labels), "split": np.concatenate(split)}
    return {"cifar10": {**arrays, "class_names": np.array(CLASSES)}}


RECIPE = Recipe(
    summary="60,000 photographs of 10 kinds, 16 × 16 in colour, official split 50,000 / 10,000",
    licence="none stated",
    citation="Krizhevsky: Learning multiple layers of features from tiny images, 2009",
    products=("cifar10",),
    ways=(
        (
            Download(
                ARCHIVE,
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                "md5:c32a1d4ab5d03f1284b67883e8d87530",
            ),
        ),
    ),
    build=_build,
)
