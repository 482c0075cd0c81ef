"""Files of trained encoders: weights in safetensors with a versioned header. Reading one runs no code that is in it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from common.tensor_file import check_tensors, read_tensors, write_tensors
from evaluation.encoders.conv_autoencoder import ConvEncoder, ConvShape

FORMAT = "conv_encoder"
VERSION = "1"


def save_encoder(path: str | Path, encoder: ConvEncoder, provenance: Mapping[str, object]) -> None:
    """Write ``encoder`` and its ``provenance`` to ``path``: whole or not at all. Raises OSError where that fails."""
    header = {key: value if isinstance(value, str) else json.dumps(value) for key, value in provenance.items()}
    header |= {"format": FORMAT, "version": VERSION, "shape": json.dumps(asdict(encoder.shape))}
    write_tensors(path, encoder.state_dict(), header)


def load_encoder(path: str | Path) -> ConvEncoder:
    """The encoder that ``save_encoder`` wrote to ``path``. Raises OSError, and ValueError for any other file."""
    header, tensors = read_tensors(path, "encoder file", FORMAT, VERSION)
    try:
        given = json.loads(header["shape"])
        shape = ConvShape(tuple(map(int, given["image_shape"])), int(given["code"]), int(given["channels"]))
        with torch.device("meta"):  # sizes in a header reserve no memory
            expected = ConvEncoder(shape).state_dict()
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, RecursionError) as error:
        raise ValueError(f"encoder file {path}: damaged header ({' '.join(str(error).split())})") from None
    check_tensors(tensors, expected, f"encoder file {path}")
    encoder = ConvEncoder(shape)
    encoder.load_state_dict(tensors)
    return encoder
