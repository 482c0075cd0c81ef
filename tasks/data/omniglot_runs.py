"""The official one-shot runs of Omniglot (Lake et al., 2015): 20 episodes of 20 ways, fixed for everybody."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.data.npz_source import read_arrays
from tasks.data.raw import Array
from tasks.dataset import resize
from tasks.task import Episode

KEYS = ("train", "test", "answer")


def read_one_shot_runs(path: str | Path, size: int | None = None) -> list[Episode]:
    """The runs in the npz file at ``path``, in order: support [ways, D] of classes 0, 1, ..., query [queries, D].

    The file holds ``train`` [runs, ways, h, w] and ``test`` [runs, queries, h, w], uint8 with bright ink, and
    ``answer`` [runs, queries]: the place in ``train`` of each test image's class. Images are resized to ``size`` ×
    ``size`` if given. Raises OSError if the file cannot be opened, ValueError for one that holds something else.
    """
    train, test, answer = read_arrays(path, KEYS).values()
    fits = train.ndim == test.ndim == 4 and train.shape[2:] == test.shape[2:] and answer.shape == test.shape[:2]
    if not fits or train.dtype != np.uint8 or test.dtype != np.uint8 or len(train) != len(test) or not train.size:
        raise ValueError(
            f"{path}: train {train.dtype} {list(train.shape)}, test {test.dtype} {list(test.shape)} and answer "
            f"{list(answer.shape)}, expected uint8 [runs, ways, h, w], uint8 [runs, queries, h, w] and [runs, queries]"
        )
    ways = train.shape[1]
    if answer.dtype.kind not in "iu" or answer.min() < 0 or answer.max() >= ways:
        raise ValueError(f"{path}: answers are {answer.dtype}, expected whole numbers of 0 to {ways - 1}")
    support, query = (_flat(images, size) for images in (train, test))
    places = torch.from_numpy(answer.astype(np.int64))
    return [Episode(s, torch.arange(ways), q, y) for s, q, y in zip(support, query, places, strict=True)]


def _flat(images: Array, size: int | None) -> Tensor:
    """``images`` uint8 [runs, n, h, w] as float32 [runs, n, D] in [0, 1]."""
    x = torch.from_numpy(images.astype(np.float32) / 255).flatten(0, 1)
    x = x if size is None else resize(x, size)
    return x.flatten(1).unflatten(0, images.shape[:2])
