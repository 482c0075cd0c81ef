"""The base networks that baselines train by gradient descent, and their features."""

from typing import cast

import torch
from torch import Tensor

from evaluation.method import Embed
from evaluation.paired_tasks import PairedTask
from evaluation.protocol import Use
from inner_loop.networks.mlp import MLP
from update_rules.contract import State


def dense_network(task: PairedTask, use: Use) -> MLP:
    """The base network of ``use`` for the inputs of ``task``. Raises ValueError for one of other than dense layers."""
    if use.network.layers != "dense":
        raise ValueError(
            f"got a network of {use.network.layers} layers, expected dense ones: no baseline trains others"
        )
    return cast(MLP, use.base_network(task.task.inputs))


def frozen_embedding(network: MLP, state: State, task: PairedTask, *, linear: bool = False) -> Embed:
    """The outputs, ``linear`` or activated, of a network with statistics frozen on the task's unlabelled examples."""
    with torch.no_grad():
        statistics = network.forward(state, task.unlabelled).statistics()

    def embed(x: Tensor) -> Tensor:
        with torch.no_grad():
            seen = network.forward(state, x, statistics=statistics)
        return seen.z[-1] if linear else seen.x[-1]

    return embed
