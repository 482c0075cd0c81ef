"""What torch makes tensors of where nobody says: float32 on the CPU, whatever the caller of the library has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def usual_defaults() -> Iterator[None]:
    """Inside, new tensors are float32 on the CPU; afterwards the defaults are what they were."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.device("cpu"):
            yield
    finally:
        torch.set_default_dtype(dtype)
