"""Train a base network on unlabelled data with an update rule, and write the features that it gives each example.

With --network-in nothing is trained: new data is embedded with a network that was written before.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common.atomic_file import atomic_write
from inner_loop.inner_settings import settings_of
from inner_loop.network_file import load_network, save_network
from inner_loop.trained_network import TrainedNetwork
from inner_loop.transformer import RuleFeatures
from tasks.data.sources import load_inputs, load_source
from unsupervised_update_rules.commands.arguments import Parser, at_least, different, given_settings, threads, writable
from unsupervised_update_rules.commands.terminal import progress
from update_rules.rule_file import read_header

NETWORK = ("hidden", "outputs", "activation", "steps", "batch")
"""What may be said of the base network and its training."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    network = parser.add_mutually_exclusive_group(required=True)
    network.add_argument("--rule", metavar="FILE", help="rule file, or the name of a pretrained rule")
    network.add_argument("--network-in", type=Path, metavar="FILE", help="embed with this network; nothing is trained")
    parser.add_argument("--data", required=True, metavar="SOURCE", help="such as npz:FILE, csv:FILE or folder:FOLDER")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.npz", help="`features` and, if known, `y`")
    parser.add_argument("--network-out", type=Path, metavar="FILE", help="write the trained base network here")
    parser.add_argument("--size", type=at_least(1), metavar="S", help="resize images to S x S pixels")
    parser.add_base_network()
    parser.add_trust()
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the starting network and the batches")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    different(**{"out": arguments.out, "network-out": arguments.network_out, "network-in": arguments.network_in})
    if arguments.network_in is not None and arguments.network_out is not None:
        parser.error("got --network-in and --network-out, expected one of them: nothing is trained")
    given = [f"--{name}" for name in NETWORK if getattr(arguments, name) is not None]
    if arguments.network_in is not None and given:
        parser.error(f"got --network-in and {given[0]}, expected one of them: the network in the file stays as it is")
    return arguments


def train(arguments: argparse.Namespace, x: Tensor) -> TrainedNetwork:
    """A base network trained on ``x`` [n, D] as the arguments say."""
    header = read_header(arguments.rule)
    steps = settings_of(replace(header, trust=tuple(arguments.trust)), given_settings(arguments)).steps
    given = {name: getattr(arguments, name) for name in NETWORK if name != "batch"}
    features = RuleFeatures(
        arguments.rule, **given, batch_size=arguments.batch, random_state=arguments.seed, trust=arguments.trust
    )
    with progress("inner step", steps) as advance:
        return features.fit(x.numpy(), progress=lambda step: advance(1)).network_


def load_trained(arguments: argparse.Namespace, x: Tensor) -> TrainedNetwork:
    """The network in a file, which must fit ``x`` [n, D]."""
    trained = load_network(arguments.network_in, arguments.trust)
    inputs = trained.problem.inputs
    if x.shape[1] != inputs:
        raise ValueError(
            f"{arguments.data} has {x.shape[1]} inputs, expected {inputs} as {arguments.network_in} was trained on; "
            "images need the --size of then"
        )
    return trained


def labels(arguments: argparse.Namespace, x: Tensor) -> Tensor | None:
    """The labels [n] of the data, where it has some."""
    try:
        datasets = load_source(arguments.data, size=arguments.size, seed=arguments.seed)
    except ValueError:  # the inputs have been read, so it is the labels that are missing
        return None
    return datasets[0].y if datasets[0].x.shape == x.shape else None


def main(argv: Sequence[str] | None = None) -> int:
    """Train or load a base network, embed the data and write what was asked for."""
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    writable(arguments.out)
    writable(arguments.network_out)
    x, _ = load_inputs(arguments.data, size=arguments.size, seed=arguments.seed)
    trained = load_trained(arguments, x) if arguments.rule is None else train(arguments, x)
    arrays = {"features": trained.embed(x).numpy()}
    y = labels(arguments, x)
    if y is not None:
        arrays["y"] = y.numpy()
    if arguments.network_out is not None:
        save_network(arguments.network_out, trained)
        print(f"wrote {arguments.network_out}: {trained.problem.network}, trained by rule {trained.rule.name}")
    with atomic_write(arguments.out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    print(f"wrote {arguments.out}: " + ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()))
    return 0
