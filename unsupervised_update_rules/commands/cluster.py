"""Find clusters in data of your own: a cluster for each row, why, and a picture.

Where the data have labels, the clusters are compared with them; they are never looked at before.
"""

import argparse
import csv
import io
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from common.atomic_file import atomic_write, write_json
from common.names import did_you_mean
from common.scaling import scaling
from evaluation.results import environment
from experiment.report.plots import save_png
from experiment.report.scatter import components_figure
from inner_loop.clusterers import ChosenClusterer, LearnedClusterer, RuleClusterer
from tasks.data.sources import Inputs, load_inputs
from tasks.dataset import NOISE
from unsupervised_update_rules.commands.arguments import (
    Parser,
    at_least,
    command,
    different,
    keeps,
    threads,
    writable,
)
from unsupervised_update_rules.commands.terminal import progress
from update_rules.clustering.candidates import found_by, installed
from update_rules.clustering.points import Labels, scaled

RULES: dict[str, type[RuleClusterer]] = {"learned": LearnedClusterer, "chosen": ChosenClusterer}
"""The ways with a meta-trained rule."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="SOURCE", help="such as csv:FILE, npz:FILE or folder:FOLDER")
    parser.add_label(needed=False)
    parser.add_argument("--clusters", type=at_least(1), metavar="K", help="how many (default: as many as fit best)")
    parser.add_argument(
        "--with",
        dest="method",
        default="chosen",
        metavar="NAME",
        help=f"learned, chosen, or by hand {', '.join(installed())}, which need --clusters (default chosen)",
    )
    parser.add_argument("--rule", metavar="FILE", help="a rule file in the place of the pretrained one")
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write name and cluster of every row here")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the rows by two principal components here")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found and what it took here")
    parser.add_argument("--size", type=at_least(1), metavar="S", help="resize images to S x S pixels")
    parser.add_standardise()
    parser.add_trust()
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides what is drawn (default 0)")
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    known = [*RULES, *installed()]
    if arguments.method not in known:
        near = did_you_mean(arguments.method, known)
        parser.error(f"got --with {arguments.method!r}, expected {', '.join(known)}{near}")
    if arguments.method not in RULES and arguments.clusters is None:
        parser.error(f"got --with {arguments.method} without --clusters, expected how many there are")
    if arguments.method not in RULES and arguments.rule is not None:
        parser.error(f"got --rule with --with {arguments.method}, expected learned or chosen")
    different(out=arguments.out, plot=arguments.plot, json=arguments.json)
    for given in (arguments.data, arguments.rule):
        keeps(given, out=arguments.out, plot=arguments.plot, json=arguments.json)
    return arguments


def clustered(arguments: argparse.Namespace, x: NDArray[np.float64]) -> tuple[Labels, str]:
    """The cluster [N] of each row of ``x`` [N, D], and why."""
    if arguments.method in RULES:
        made = RULES[arguments.method](
            arguments.clusters,
            rule=arguments.rule,
            standardise=False,
            trust=tuple(arguments.trust),
            random_state=arguments.seed,
        ).fit(x)
        return cast(Labels, made.labels_), made.reason_
    if arguments.clusters > len(x):
        raise ValueError(f"got --clusters {arguments.clusters} for {len(x)} rows, expected at most as many")
    return found_by(arguments.method, scaled(x), arguments.clusters, arguments.seed), ""


def main(argv: Sequence[str] | None = None) -> int:
    """Cluster the rows, print what was found and write what was asked for."""
    arguments = parse(argv)
    torch.set_num_threads(arguments.threads)
    writable(arguments.out)
    writable(arguments.plot)
    writable(arguments.json)
    inputs = load_inputs(arguments.data, size=arguments.size, label=arguments.label)
    x = _table(inputs, arguments)
    with progress(f"clusters of {len(x)} rows by {arguments.method}", 1) as advance:
        started = time.perf_counter()
        labels, reason = clustered(arguments, x)
        seconds = time.perf_counter() - started
        advance(1)
    counts = np.bincount(labels)
    many = f"{len(counts)} cluster{'s' if len(counts) > 1 else ''} by {arguments.method}"
    if arguments.clusters not in (None, len(counts)):
        many += f", of {arguments.clusters} asked for"
    print(many + (f": {reason}" if reason else ""))
    print("rows of each: " + ", ".join(map(str, counts.tolist())))
    index = _index(inputs, labels)
    if index is not None:
        print(f"adjusted Rand index beside the labels of {index.rows} rows: {index.value:.3f}")
    if arguments.out is not None:
        text = io.StringIO()
        rows = zip(inputs.ids, labels.tolist(), strict=True)
        csv.writer(text, lineterminator="\n").writerows([("row", "cluster"), *rows])
        with atomic_write(arguments.out) as file:
            file.write(text.getvalue().encode())
        print(f"wrote {arguments.out}: row, cluster")
    if arguments.plot is not None:
        save_png(components_figure(x, labels), arguments.plot)
        print(f"wrote {arguments.plot}")
    if arguments.json is not None:
        found = {
            "meta": {"command": command("cluster", argv), **environment()},
            "clustered": {
                **{"method": arguments.method, "rows": len(x), "columns": x.shape[1], "clusters": len(counts)},
                **{"reason": reason, "adjusted_rand_index": None if index is None else index.value},
                **{"seconds": seconds, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024},
            },
        }
        write_json(arguments.json, found)
        print(f"wrote {arguments.json}")
    return 0


class Index(NamedTuple):
    """The adjusted Rand index beside the labels of so many rows."""

    value: float
    rows: int


def _index(inputs: Inputs, labels: Labels) -> Index | None:
    """How well ``labels`` agree with the classes of those rows that are of one, if there are any."""
    if inputs.classes is None:
        return None
    noise = inputs.class_names.index(NOISE) if NOISE in inputs.class_names else -1
    known = (inputs.classes >= 0) & (inputs.classes != noise)
    if not known.any():
        return None
    return Index(float(adjusted_rand_score(inputs.classes[known], labels[known])), int(known.sum()))


def _table(inputs: Inputs, arguments: argparse.Namespace) -> NDArray[np.float64]:
    """The rows as they are clustered: columns on one scale, pixels as they are; no flags of empty cells."""
    x = inputs.x.double().numpy()
    if inputs.columns is not None:
        x = x[:, ~inputs.columns.gap_flags()]
    if len(x) < 2:
        raise ValueError(f"{arguments.data}: one row, expected two or more to find clusters in")
    offset, scale = scaling(x, inputs.standardise(arguments.standardise))
    return (x - offset) / scale
