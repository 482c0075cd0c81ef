"""Files of trained encoders: weights in safetensors with a versioned header. Reading one runs no code that is in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from outer_loop.conv_autoencoder import ConvEncoder, ConvShape
from update_rules.tensor_file import write_tensors

FORMAT = "conv_encoder"
VERSION = "1"


def save_encoder(path: str | Path, encoder: ConvEncoder, provenance: Mapping[str, object]) -> None:
    """Write ``encoder`` and where it comes from to ``path``, whole or not at all: strings as they are, else as JSON.

    Raises OSError if ``path`` cannot be written.
    """
    header = {key: value if isinstance(value, str) else json.dumps(value) for key, value in provenance.items()}
    header |= {"format": FORMAT, "version": VERSION, "shape": json.dumps(asdict(encoder.shape))}
    write_tensors(path, encoder.state_dict(), header)


def load_encoder(path: str | Path) -> ConvEncoder:
    """The encoder that ``save_encoder`` wrote to ``path``; its ``embed`` gives features [n, E] of flat images [n, D].

    Raises OSError if ``path`` cannot be read, and ValueError for a file that is damaged, of another kind or version,
    or whose tensors do not fit its header.
    """
    header = read_file_header(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: no encoder file, its header says format {header.get('format')!r}")
    if header.get("version") != VERSION:
        raise ValueError(f"{path}: encoder version {header.get('version')!r}, this program reads version {VERSION}")
    try:
        given = json.loads(header["shape"])
        shape = ConvShape(tuple(map(int, given["image_shape"])), int(given["code"]), int(given["channels"]))
        with torch.device("meta"):  # sizes in a header reserve no memory
            expected = ConvEncoder(shape).state_dict()
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, RecursionError) as error:
        raise ValueError(f"{path}: damaged header ({' '.join(str(error).split())})") from None
    with safe_open(path, framework="pt", device="cpu") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    if tensors.keys() != expected.keys():
        raise ValueError(f"{path}: holds {sorted(tensors)}, expected {sorted(expected)}")
    for name, value in expected.items():
        found = tensors[name]
        if found.shape != value.shape or found.dtype != value.dtype or not found.isfinite().all():
            raise ValueError(
                f"{path}: {name} is {found.dtype} {list(found.shape)}, expected finite {value.dtype} "
                f"{list(value.shape)}"
            )
    encoder = ConvEncoder(shape)
    encoder.load_state_dict(tensors)
    return encoder


def read_file_header(path: str | Path) -> dict[str, str]:
    """The metadata of a safetensors file of any kind. Raises OSError if it cannot be read, ValueError if it is none."""
    try:
        Path(path).open("rb").close()  # safe_open calls every file that it cannot open missing
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
