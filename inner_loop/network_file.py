"""The file of a trained base network: the rule that trained and reads it, its State, what normalises examples."""

import json
from collections.abc import Collection
from dataclasses import asdict
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from common.tensor_file import check_tensors, read_tensors, write_tensors
from common.torch_defaults import usual_defaults
from inner_loop.networks.registry import NETWORKS, describe_network, network_from
from inner_loop.trained_network import TrainedNetwork
from update_rules.contract import Problem
from update_rules.registry import RULES

FORMAT = "base_network"
VERSION = "3"
PARTS = ("theta", "state", "statistics", "inputs")


def save_network(path: str | Path, trained: TrainedNetwork) -> None:
    """Write ``trained`` to ``path``: whole or not at all. Raises OSError where it cannot be written."""
    tensors = dict(zip(PARTS, (trained.rule.state_dict(), trained.state, trained.statistics), strict=False))
    tensors["inputs"] = {"offset": trained.offset, "scale": trained.scale}
    problem = {name: value for name, value in asdict(trained.problem).items() if name != "network"}
    told = {"config": trained.rule.config, "problem": problem, "network": describe_network(trained.problem.network)}
    told |= {"inputs": {"spread": trained.spread, "more": dict(trained.inputs)}}
    header = {"format": FORMAT, "version": VERSION, "rule": RULES.name_of(type(trained.rule))}
    header |= {name: json.dumps(value) for name, value in told.items()}
    write_tensors(path, {f"{part}/{name}": v for part, found in tensors.items() for name, v in found.items()}, header)


@usual_defaults()
def load_network(path: str | Path, trust: Collection[str] = ()) -> TrainedNetwork:
    """The network that ``save_network`` wrote to ``path``.

    Code of a module that is not ours runs only where ``trust`` names the module. Raises OSError for a file that cannot
    be read, and ValueError for one that is damaged, of another kind or version, or does not fit its header.
    """
    where = f"base network file {path}"
    header, tensors = read_tensors(path, "base network file", FORMAT, VERSION)
    parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    for name, value in tensors.items():
        part, _, own = name.partition("/")
        parts.setdefault(part, {})[own] = value
    try:
        RULES.check_trust(header["rule"], trust, where)
        described = json.loads(header["network"])
        if described is not None:
            NETWORKS.check_trust(described["kind"], trust, where)
        told = json.loads(header["inputs"])
        spread, more = None if told["spread"] is None else float(told["spread"]), dict(told["more"])
        said = json.loads(header["problem"])
        said["image_shape"] = None if said["image_shape"] is None else tuple(said["image_shape"])
        said["views"] = tuple((name, tuple(shape)) for name, shape in said["views"])
        problem = Problem(**said, network=network_from(described))
        weights = {} if problem.network is None else problem.network.shapes
        if sum(map(prod, weights.values())) > sum(map(Tensor.numel, tensors.values())) or problem.inputs < 1:
            raise ValueError("a network larger than the file")  # nothing of its size is to be reserved
        rule = RULES.make(header["rule"], json.loads(header["config"]))
        start = rule.init_state(problem, torch.Generator())
        with torch.no_grad():
            statistics = rule.statistics(problem, start, torch.zeros(2, problem.inputs))
    except (KeyError, TypeError, OverflowError, RecursionError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{where}: damaged header ({' '.join(str(error).split())})") from None
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: damaged header ({error})") from None
    inputs = torch.empty(problem.inputs, dtype=torch.float64, device="meta")
    expected = (rule.state_dict(), start, statistics, {"offset": inputs, "scale": inputs})
    for part, wanted in zip(PARTS, expected, strict=True):
        check_tensors(parts[part], wanted, f"{where}: {part}")
    rule.load_state_dict(parts["theta"])
    offset, scale = parts["inputs"]["offset"], parts["inputs"]["scale"]
    return TrainedNetwork(rule, problem, parts["state"], parts["statistics"], offset, scale, spread, more)
