"""The files of MNIST and of sets like it, alone or in a package, as the arrays of one npz file."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tasks.data.idx_source import read_idx
from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files

STEMS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def gzipped(bases: Sequence[str], md5: Sequence[str]) -> tuple[Download, ...]:
    """The four files under any of the addresses ``bases``, with their checksums in the order of STEMS."""
    return tuple(
        Download(f"{stem}.gz", tuple(f"{base}{stem}.gz" for base in bases), f"md5:{one}")
        for stem, one in zip(STEMS, md5, strict=True)
    )


def idx_arrays(files: Files, class_names: Sequence[str]) -> dict[str, Array]:
    """``x`` uint8 [n, h, w], ``y`` int64, ``class_names`` and the official ``split``. Raises ValueError for damage."""
    with TemporaryDirectory() as folder:
        for path in files.values():
            members = [(path.name, path.read_bytes())]
            if path.suffix != ".gz":
                members = list(read_members(path, r".*-idx\d-ubyte(\.gz)?"))
            for name, content in members:
                Path(folder, Path(name).name).write_bytes(content)
        (raw,) = read_idx(folder)
    assert raw.labels is not None
    assert raw.split is not None
    return {"x": raw.x, "y": raw.labels, "class_names": np.array(class_names), "split": raw.split.astype(np.int8)}
