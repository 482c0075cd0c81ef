"""Names and shapes of the original release's arrays, and how ours map to them.

The original stores the rule's weights under TensorFlow names, one pair of arrays per readout, and both halves of the
base network as numbered layers. Here those readouts are columns of one map, and the base network is a State.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inner_loop.networks.mlp import MLP
from update_rules.contract import State
from update_rules.metz.change import ABOVE_READOUTS, BELOW_READOUTS
from update_rules.metz.metz import Metz

RULE_PREFIX = "MoreLocalWeightUpdateProcess/"
BASE_PREFIX = "LocalWeightUpdateWLearner/"
SHUFFLE = BASE_PREFIX + "shuffle_ind"

FIXED_TOP = 4
"""Convolutions of the top signal besides its layers: the first, two over units, and the last."""


class ArrayFile(dict[str, np.ndarray]):
    """The arrays of one .npz file by name; asking for one that is missing raises a ValueError that names the file."""

    def __init__(self, path: Path, arrays: Mapping[str, np.ndarray]) -> None:
        super().__init__(arrays)
        self.path = path

    def __missing__(self, name: str) -> np.ndarray:
        raise ValueError(f"{self.path} has no array {name}")

    def number(self, name: str) -> float:
        """The single number stored under ``name``. Raises ValueError if it is missing or not single."""
        array = self[name]
        if array.size != 1:
            raise ValueError(f"{self.path}: got {name} of shape {array.shape}, expected one number")
        return float(array.reshape(()))

    def count(self, name: str) -> int:
        """The whole number of 0 or more stored under ``name``. Raises ValueError if it is anything else."""
        value = self.number(name)
        if not (value >= 0 and value == int(value)):
            raise ValueError(f"{self.path}: got {name} = {value:g}, expected a whole number of 0 or more")
        return int(value)

    def shaped(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """The array ``name`` reshaped to ``shape``. Raises ValueError if its size differs."""
        array = self[name]
        if array.size != int(np.prod(shape)):
            raise ValueError(f"{self.path}: got {name} of shape {array.shape}, expected {shape}")
        return array.reshape(shape)


def numbered(name: str, index: int) -> str:
    """TensorFlow's name for the ``index``-th use of ``name``: the first has no number."""
    return name if index == 0 else f"{name}_{index}"


def rule_names(rule: Metz) -> dict[str, list[str]]:
    """For every parameter of ``rule`` the original arrays that make it up, side by side along the last axis."""
    names: dict[str, list[str]] = {}

    def affine(ours: str, theirs: str) -> None:
        names[f"{ours}.weight"], names[f"{ours}.bias"] = [f"{theirs}/w"], [f"{theirs}/b"]

    def convolution_norm(ours: str, scope: str, index: int, norm_index: int) -> None:
        affine(f"{ours}.convolution", scope + numbered("conv_1d", index))
        names[f"{ours}.norm.offset"] = [f"{scope}{numbered('batch_norm', norm_index)}/beta"]

    top = ["entry", "across_units.0", "across_units.1"]
    top += [f"layers.{i}" for i in range(len(rule.top_signal.layers))]
    for i, ours in enumerate(top):
        convolution_norm(f"top_signal.{ours}", "compute_top_delta/", i, i)
    affine("top_signal.exit", "compute_top_delta/" + numbered("conv_1d", len(top)))

    names["neuron_state.input_norm.offset"] = ["batch_norm/beta"]
    for i in range(len(rule.neuron_state.over_units)):
        convolution_norm(f"neuron_state.over_examples.{i}", "", i, i + 1)
        block = numbered("ConcatUnitConv", i) + "/"
        convolution_norm(f"neuron_state.over_units.{i}.first", block, 0, 0)
        convolution_norm(f"neuron_state.over_units.{i}.second", block, 1, 1)
    affine("error_readout", "linear")
    affine("bias_readout", "bias_readout")

    for direction in ("forward",) if rule.backward_change is None else ("forward", "backward"):
        for side, readouts in (("below", BELOW_READOUTS), ("above", ABOVE_READOUTS)):
            for ours, theirs in (("weight", "w"), ("bias", "b")):
                names[f"{direction}_change.{side}.{ours}"] = [f"{direction}{r}/linear/{theirs}" for r in readouts]
        names[f"{direction}_change.mix"] = [f"{direction}_weight_readout_coeffs/w"]
        names[f"{direction}_change.mix_bias"] = [f"{direction}_weight_readout_coeffs/b"]
    return names


def rule_from_arrays(arrays: ArrayFile, learning_rate: float, dtype: torch.dtype) -> Metz:
    """The rule of the arrays of θ, whose shapes say its sizes, in float32 or float64.

    They have the original's names, maybe with ``theta/`` before. Raises ValueError for one that is missing or does not
    fit.
    """
    prefix = "theta/" * any(name.startswith(f"theta/{RULE_PREFIX}") for name in arrays) + RULE_PREFIX

    def size(name: str, axis: int) -> int:
        array = arrays[f"{prefix}{name}/w"]
        if array.ndim < 2:
            raise ValueError(f"{arrays.path}: got {prefix}{name}/w of shape {array.shape}, expected 2 axes or more")
        return int(array.shape[axis])

    def count(name: str) -> int:
        places = range(len(arrays) + 1)
        there = (any(one.startswith(f"{prefix}{numbered(name, place)}/") for one in arrays) for place in places)
        return next(place for place, found in enumerate(there) if not found)

    top = count("compute_top_delta/conv_1d")
    rule = Metz(
        outputs=size("compute_top_delta/conv_1d_1", 1),
        hidden=size("conv_1d", -1),
        h_layers=max(0, count("ConcatUnitConv") - 1),
        top_hidden=size("compute_top_delta/conv_1d", -1),
        top_layers=max(0, top - FIXED_TOP),
        delta_channels=size("compute_top_delta/" + numbered("conv_1d", max(0, top - 1)), -1),
        readout_channels=size("forwardweight_readout_0_top/linear", -1),
        identical_updates=not any(name.startswith(f"{prefix}backward") for name in arrays),
        learning_rate=learning_rate,
    )
    parameters = dict(rule.named_parameters())
    for ours, theirs in rule_names(rule).items():
        shape = parameters[ours].shape
        piece = (*shape[:-1], shape[-1] // len(theirs))
        pieces = [arrays.shaped(f"{prefix}{name}", piece) for name in theirs]
        parameters[ours].data = torch.from_numpy(np.concatenate(pieces, -1)).to(dtype)
    return rule


def named_rule_tensors(rule: Metz, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors``, shaped like the rule's parameters and under their names, by the original names."""
    return {
        RULE_PREFIX + name: piece
        for ours, theirs in rule_names(rule).items()
        for name, piece in zip(theirs, tensors[ours].chunk(len(theirs), -1), strict=True)
    }


def state_names(layers: int) -> dict[str, str]:
    """For every key of a State of ``layers`` layers the original's name; the backward half comes second."""
    names: dict[str, str] = {}
    for layer in range(1, layers + 1):
        forward = BASE_PREFIX + numbered("LinearBatchNorm", layer - 1)
        backward = BASE_PREFIX + numbered("LinearBatchNorm", layer - 1 + layers)
        names[f"w{layer}"] = f"{forward}/linear/w"
        names[f"v{layer}"] = f"{backward}/linear/w"
        names[f"b{layer}"] = f"{forward}/b"
    return names


def network_from_arrays(arrays: ArrayFile, dtype: torch.dtype) -> tuple[MLP, State]:
    """The base network of ``base0/*`` and its State. Raises ValueError for an array that is missing or does not fit."""
    layers = arrays.count("cfg/n_layers") + 1
    names = state_names(layers)
    sizes = [arrays[f"base0/{SHUFFLE}"].size]
    sizes += [arrays[f"base0/{names[f'b{layer}']}"].size for layer in range(1, layers + 1)]
    state: State = {}
    for layer in range(1, layers + 1):
        below, units = sizes[layer - 1], sizes[layer]
        for key, shape in ((f"w{layer}", (below, units)), (f"v{layer}", (below, units)), (f"b{layer}", (units,))):
            state[key] = torch.from_numpy(arrays.shaped(f"base0/{names[key]}", shape)).to(dtype)
    return MLP(tuple(sizes)), state


def shuffled_images(images: np.ndarray, arrays: ArrayFile, dtype: torch.dtype) -> Tensor:
    """``images`` [B, ...] as rows [B, D], pixels in the stored order. Raises ValueError unless that permutes them."""
    order = arrays[f"base0/{SHUFFLE}"].reshape(-1)
    rows = images.reshape(len(images), -1)
    if rows.shape[1] != order.size or not np.array_equal(np.sort(order), np.arange(order.size)):
        raise ValueError(
            f"{arrays.path}: got images of {rows.shape[1]} pixels and a pixel order of {order.size} entries, "
            "expected a permutation of the pixels"
        )
    return torch.from_numpy(rows[:, order]).to(dtype)
