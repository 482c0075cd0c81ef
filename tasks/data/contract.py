"""What data of one's own promise, wherever a SOURCE is asked for: ``my_module:MyData`` names a class like this."""

from collections.abc import Sequence

import numpy as np

from common.components import Registry
from tasks.data.raw import RawData


class DataSource:
    """Data that a class reads or makes; it is built without arguments."""

    def read(self) -> Sequence[RawData]:
        """The data sets, one or several tables or collections of images, the same at every call."""
        raise NotImplementedError


SOURCES = Registry("source", DataSource, {})
"""Sources of one's own; those of ours have names and schemes (``tasks.data.sources``)."""


def read_own(path: str) -> list[RawData]:
    """What the class at ``path``, ``module:Class``, reads. Raises ValueError where it cannot, or for anything else."""
    made = SOURCES.make(path, {})
    try:
        tables = list(made.read())
    except Exception as error:  # whatever a class of the user's raises is the user's to mend
        raise ValueError(f"source {path} cannot be read: {type(error).__name__}: {error}") from error
    if not tables or not all(isinstance(table, RawData) for table in tables):
        raise ValueError(f"source {path}: read() gives {tables!r:.80}, expected a list of RawData")
    for table in tables:
        if not all(isinstance(one, np.ndarray) for one in (table.x, table.labels) if one is not None):
            raise ValueError(f"source {path}: x and labels of {table.name} must be arrays of numpy")
    return tables
