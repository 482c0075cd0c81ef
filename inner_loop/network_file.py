"""The file of a trained base network: safetensors with a header of its own format and version."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from inner_loop.mlp import MLP
from inner_loop.trained_network import TrainedNetwork
from update_rules.tensor_file import write_tensors

FORMAT = "base_network"
VERSION = 1


def save_network(path: str | Path, trained: TrainedNetwork) -> None:
    """Write ``trained`` to ``path``: whole or not at all. Raises OSError where it cannot be written."""
    tensors = {f"state/{name}": value for name, value in trained.state.items()}
    for layer, (mean, variance) in enumerate(trained.statistics, start=1):
        tensors |= {f"statistics/mean{layer}": mean, f"statistics/var{layer}": variance}
    tensors |= {"inputs/offset": trained.offset, "inputs/scale": trained.scale}
    header = {
        "format": FORMAT,
        "version": str(VERSION),
        "sizes": json.dumps(trained.network.sizes),
        "activation": trained.network.activation,
    }
    write_tensors(path, tensors, header)


def load_network(path: str | Path) -> TrainedNetwork:
    """The network that ``save_network`` wrote to ``path``.

    Raises FileNotFoundError where there is no file, and ValueError for a file that is damaged, of another kind or of a
    newer version, or whose tensors do not fit its header. No code in the file is run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no base network file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise ValueError(f"{path}: not a readable safetensors file ({error})") from None
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}: no base network file, its header says format {header.get('format')!r}")
    if header.get("version") != str(VERSION):
        raise ValueError(f"{path}: base network version {header.get('version')}, this program reads version {VERSION}")
    try:
        sizes = tuple(int(size) for size in json.loads(header["sizes"]))
        network = MLP(sizes, header["activation"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path}: damaged header ({error})") from None
    _check_shapes(path, network, tensors)
    return TrainedNetwork(
        network,
        {name.removeprefix("state/"): value for name, value in tensors.items() if name.startswith("state/")},
        [(tensors[f"statistics/mean{n}"], tensors[f"statistics/var{n}"]) for n in range(1, network.depth + 1)],
        tensors["inputs/offset"],
        tensors["inputs/scale"],
    )


def _check_shapes(path: Path, network: MLP, tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless what embedding reads is there, finite and of the shape that ``network`` gives it."""
    expected: dict[str, tuple[int, ...]] = {}
    for layer in range(1, network.depth + 1):
        low, up = network.sizes[layer - 1 : layer + 1]
        expected |= {f"state/w{layer}": (low, up), f"state/b{layer}": (up,)}
        expected |= {f"statistics/mean{layer}": (up,), f"statistics/var{layer}": (up,)}
    expected |= {f"inputs/{name}": (network.sizes[0],) for name in ("offset", "scale")}
    for name, shape in expected.items():
        found = tensors.get(name)
        dtype = torch.float64 if name.startswith("inputs/") else torch.float32
        if found is None or found.shape != shape or found.dtype != dtype:
            what = "is missing" if found is None else f"is {found.dtype} {list(found.shape)}"
            raise ValueError(f"{path}: {name} {what}, expected {dtype} {list(shape)}")
        if not found.isfinite().all():
            raise ValueError(f"{path}: {name} has values that are not finite")
