"""Writing tensors with a header as safetensors, whole or not at all, and with equal bytes for equal contents."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from update_rules.atomic_file import atomic_write


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write ``tensors``, any device and layout, and ``header`` to ``path``. Raises OSError if it cannot be written."""
    dense = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    content = _with_header_in_order(save(dense, dict(header)))
    with atomic_write(path) as file:
        file.write(content)


def _with_header_in_order(content: bytes) -> bytes:
    """The safetensors file ``content`` with sorted metadata, which safetensors shuffles: equal runs, equal bytes."""
    size = int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8 : 8 + size]), content[8 + size :]
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + tensors
