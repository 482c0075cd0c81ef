"""Train a base network on unlabelled data with an update rule, and write the features that it gives each example.

With --network-in nothing is trained: new data is embedded with a network that was written before.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from common.atomic_file import atomic_write
from evaluation.lineup import split_seeds
from inner_loop.inner_settings import settings_of
from inner_loop.network_file import load_network, save_network
from inner_loop.trained_network import TrainedNetwork
from inner_loop.transformer import RuleFeatures
from tasks.data.raw import Array
from tasks.data.sources import Inputs, load_inputs
from tasks.data.table_columns import TableColumns
from unsupervised_update_rules.commands.arguments import (
    Parser,
    at_least,
    command,
    different,
    given_settings,
    keeps,
    threads,
    writable,
)
from unsupervised_update_rules.commands.terminal import progress
from unsupervised_update_rules.commands.tracked import tracked
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
    parser.add_label(needed=False)
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE.npz",
        help="`features`, `ids` and, where there are labels, `y` and `class_names`; rows in the order of the data",
    )
    parser.add_argument("--network-out", type=Path, metavar="FILE", help="write the trained base network here")
    parser.add_argument(
        "--size",
        type=at_least(1),
        metavar="S",
        help="resize images to S x S pixels (with --network-in: as then)",
    )
    parser.add_standardise()
    parser.add_base_network()
    parser.add_trust()
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the starting network and the batches")
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    different(**{"out": arguments.out, "network-out": arguments.network_out})
    for given in (arguments.data, arguments.rule, arguments.network_in):
        keeps(given, **{"out": arguments.out, "network-out": arguments.network_out})
    if arguments.network_in is not None and arguments.network_out is not None:
        parser.error("got --network-in and --network-out, expected one of them: nothing is trained")
    given = [f"--{name}" for name in NETWORK if getattr(arguments, name) is not None]
    given += ["--standardise"] if arguments.standardise != "auto" else []
    if arguments.network_in is not None and given:
        parser.error(f"got --network-in and {given[0]}, expected one of them: the network in the file stays as it is")
    return arguments


def train(arguments: argparse.Namespace, inputs: Inputs) -> TrainedNetwork:
    """A base network trained on ``inputs`` as the arguments say."""
    header = read_header(arguments.rule)
    steps = settings_of(replace(header, trust=tuple(arguments.trust)), given_settings(arguments)).steps
    given = {name: getattr(arguments, name) for name in NETWORK if name != "batch"}
    features = RuleFeatures(
        arguments.rule,
        **given,
        batch_size=arguments.batch,
        standardise=inputs.standardise(arguments.standardise),
        random_state=arguments.seed,
        trust=arguments.trust,
    )

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with progress("inner step", steps) as advance:
        trained = features.fit(inputs.x.numpy(), progress=lambda step: advance(1), say=say).network_
    columns = None if inputs.columns is None else inputs.columns.to_json()
    return replace(trained, inputs={"image_shape": inputs.image_shape, "columns": columns})


def read(arguments: argparse.Namespace, trained: TrainedNetwork | None) -> Inputs:
    """The data, as ``trained`` takes them where it is given. Raises ValueError for others than it was trained on."""
    seed = arguments.seed if arguments.rule is None else split_seeds([read_header(arguments.rule)])[0]
    if trained is None:
        return load_inputs(arguments.data, size=arguments.size, seed=seed, label=arguments.label)
    shape, said = trained.inputs.get("image_shape"), trained.inputs.get("columns")
    size = shape[0] if arguments.size is None and shape and shape[0] == shape[1] else arguments.size
    columns = None if said is None else TableColumns.from_json(said)
    inputs = load_inputs(arguments.data, size=size, seed=seed, label=arguments.label, columns=columns)
    if list(inputs.image_shape or ()) != list(shape or ()) or inputs.x.shape[1] != trained.problem.inputs:
        here, then = (_described(shape) for shape in (inputs.image_shape, shape))
        raise ValueError(
            f"{arguments.data} holds {here} of {inputs.x.shape[1]} inputs, expected {then} of {trained.problem.inputs} "
            f"as {arguments.network_in} was trained on"
        )
    return inputs


def _described(image_shape: Sequence[int] | None) -> str:
    return "rows" if not image_shape else f"images {' x '.join(map(str, image_shape))}"


def main(argv: Sequence[str] | None = None) -> int:
    """Train or load a base network, embed the data and write what was asked for."""
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    writable(arguments.out)
    if arguments.out.suffix != ".npz":
        raise ValueError(f"got --out {arguments.out}, expected the name of an .npz file, which is what is written")
    writable(arguments.network_out)
    trained = None if arguments.network_in is None else load_network(arguments.network_in, arguments.trust)
    inputs = read(arguments, trained)
    if trained is None:
        trained = train(arguments, inputs)
    features = trained.embed(inputs.x)
    arrays: dict[str, Array] = {"features": features.numpy(), "ids": inputs.ids}
    if inputs.given is not None:
        arrays |= {"y": inputs.given, "class_names": np.array(inputs.class_names)}
    if arguments.network_out is not None:
        save_network(arguments.network_out, trained)
        print(f"wrote {arguments.network_out}: {trained.problem.network}, trained by rule {trained.rule.name}")
    with atomic_write(arguments.out) as file:
        np.savez(file, allow_pickle=False, **arrays)
    with tracked(arguments, "apply_rule", {"command": command("apply_rule", argv)}) as tracker:
        tracker.summarise({"examples": len(features), "inputs": inputs.x.shape[1], "features": features.shape[1]})
    what = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    print(f"wrote {arguments.out}: {what}, rows in the order of {arguments.data}")
    return 0
