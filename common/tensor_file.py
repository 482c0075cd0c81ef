"""Tensors with a header as safetensors: whole or not at all, equal bytes for equal contents; reading runs no code."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from common.atomic_file import atomic_write


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write ``tensors``, any device and layout, and ``header`` to ``path``. Raises OSError if it cannot be written."""
    dense = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    content = _with_header_in_order(save(dense, dict(header)))
    with atomic_write(path) as file:
        file.write(content)


def file_header(path: str | Path, kind: str) -> dict[str, str]:
    """The header of a safetensors file of any format; ``kind`` is for errors. Raises OSError and ValueError."""
    return _read(path, kind, tensors=False)[0]


def read_tensors(path: str | Path, kind: str, format: str, version: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Header and tensors, on the CPU, of a file whose header says ``format`` and ``version``; ``kind`` is for errors.

    Raises OSError for a file that cannot be read and ValueError for one that is damaged, or of another kind or version.
    """
    header, tensors = _read(path, kind, tensors=True)
    if header.get("format") != format:
        raise ValueError(f"{kind} {path}: got a file of format {header.get('format')!r}, expected {format!r}")
    if header.get("version") != version:
        raise ValueError(f"{kind} {path}: got version {header.get('version')!r}, expected {version!r}")
    return header, tensors


def check_tensors(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str, others: bool = False
) -> None:
    """Raise ValueError unless ``found`` has the names, shapes and dtypes of ``expected`` and finite numbers.

    ``others`` allows more names. Those of ``expected`` may lie on the meta device; ``where`` begins the error.
    """
    missing, more = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    if missing or (more and not others):
        raise ValueError(f"{where}: tensors missing {missing}, unexpected {[] if others else more}")
    for name, value in expected.items():
        if found[name].shape != value.shape or found[name].dtype != value.dtype:
            raise ValueError(
                f"{where}: {name} is {found[name].dtype} {list(found[name].shape)}, "
                f"expected {value.dtype} {list(value.shape)}"
            )
    check_finite({name: found[name] for name in expected}, where)


def check_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise ValueError, naming the tensors, where ``tensors`` have NaN or infinity."""
    bad = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if bad:
        raise ValueError(f"{where}: {', '.join(bad)} has NaN or infinite numbers, expected finite ones")


def _read(path: str | Path, kind: str, *, tensors: bool) -> tuple[dict[str, str], dict[str, Tensor]]:
    where = f"{kind} {path}"
    try:
        Path(path).open("rb").close()  # safe_open calls every file that it cannot open missing
        with safe_open(path, framework="pt", device="cpu") as file:
            names = file.keys() if tensors else []
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{where}: damaged or not safetensors: {error}") from None
    except FileNotFoundError:
        raise FileNotFoundError(f"{where}: not found") from None
    except OSError as error:
        raise type(error)(f"{where}: {error.strerror or error}") from None


def _with_header_in_order(content: bytes) -> bytes:
    """The safetensors file ``content`` with sorted metadata, which safetensors shuffles: equal runs, equal bytes."""
    size = int.from_bytes(content[:8], "little")
    header, tensors = json.loads(content[8 : 8 + size]), content[8 + size :]
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the tensors start at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text + tensors
