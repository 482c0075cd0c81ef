"""The file of a trained base network: safetensors with a header of its own format and version."""

import json
from pathlib import Path

import torch
from torch import Tensor

from common.tensor_file import check_tensors, read_tensors, write_tensors
from inner_loop.networks.mlp import MLP
from inner_loop.trained_network import TrainedNetwork

FORMAT = "base_network"
VERSION = "1"


def save_network(path: str | Path, trained: TrainedNetwork) -> None:
    """Write ``trained`` to ``path``: whole or not at all. Raises OSError where it cannot be written."""
    tensors = {f"state/{name}": value for name, value in trained.state.items()}
    for layer, (mean, variance) in enumerate(trained.statistics, start=1):
        tensors |= {f"statistics/mean{layer}": mean, f"statistics/var{layer}": variance}
    tensors |= {"inputs/offset": trained.offset, "inputs/scale": trained.scale}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "sizes": json.dumps(trained.network.sizes),
        "activation": trained.network.activation,
    }
    write_tensors(path, tensors, header)


def load_network(path: str | Path) -> TrainedNetwork:
    """The network that ``save_network`` wrote to ``path``.

    Raises FileNotFoundError where there is no file, and ValueError for a file that is damaged, of another kind or of a
    newer version, or whose tensors do not fit its header. No code in the file is run.
    """
    where = f"base network file {path}"
    header, tensors = read_tensors(path, "base network file", FORMAT, VERSION)
    try:
        sizes = tuple(int(size) for size in json.loads(header["sizes"]))
        network = MLP(sizes, header["activation"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{where}: damaged header ({error})") from None
    check_tensors(tensors, _needed(network), where, others=True)
    return TrainedNetwork(
        network,
        {name.removeprefix("state/"): value for name, value in tensors.items() if name.startswith("state/")},
        [(tensors[f"statistics/mean{n}"], tensors[f"statistics/var{n}"]) for n in range(1, network.depth + 1)],
        tensors["inputs/offset"],
        tensors["inputs/scale"],
    )


def _needed(network: MLP) -> dict[str, Tensor]:
    """What embedding reads, as tensors on the meta device."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(1, network.depth + 1):
        low, up = network.sizes[layer - 1 : layer + 1]
        shapes |= {f"state/w{layer}": (low, up), f"state/b{layer}": (up,)}
        shapes |= {f"statistics/mean{layer}": (up,), f"statistics/var{layer}": (up,)}
    needed = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    inputs = torch.empty(network.sizes[0], dtype=torch.float64, device="meta")
    return needed | {"inputs/offset": inputs, "inputs/scale": inputs}
