"""Choose the settings of the hand-written methods by their few-shot accuracy on data that rules are trained on.

From its defaults, or from what the file to write says already where that does better, one setting of a method after
the other takes the value that does best. All tries see the same tasks. What was tried goes to
evaluation/baselines/settings.yaml, or to settings_winners.yaml where units compete; methods that were not named keep
their entries.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from common.atomic_file import atomic_write
from common.provenance import commit
from common.yaml_dialect import parse_yaml, yaml_lines
from evaluation.baselines.settings import TUNED, BaselineSettings, read_settings, settings_file
from evaluation.comparison import compare
from evaluation.methods import Company, make_baselines
from evaluation.protocol import Use
from inner_loop.networks.activations import LINEAR_OUTPUTS, units_compete
from inner_loop.networks.mlp import MLPs
from tasks.data.sources import load_source
from tasks.source import TaskSource
from unsupervised_update_rules.commands.arguments import Parser, at_least, command, keeps, threads, writable
from unsupervised_update_rules.commands.tracked import tracked

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "pca_whitened": {"floor": (0.0, 0.01, 0.1, 1.0)},
    "kmeans": {"features": ("triangle", "distance", "square"), "examples": (1000, 4000)},
    "landmarks": {"landmarks": (64, 256, 1024, 2048), "nearest": (3, 5, 16)},
    "discriminants": {"clusters": (30, 100, 300), "floor": (0.01, 0.03, 0.1, 0.3, 1.0)},
    "autoencoder": {
        "learning_rate": (3e-3, 1e-2, 3e-2, 0.1, 0.3),
        "code": ("activation", "linear"),
        "dropped": (0.0, 0.2, 0.4, 0.6),
        "likelihood": ("bernoulli", "squared"),
        "steps": (400, 800, 1600, 3200),
    },
    "vae": {
        "learning_rate": (3e-3, 1e-2, 3e-2, 0.1, 0.3),
        "beta": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0),
        "likelihood": ("bernoulli", "squared"),
        "steps": (400, 800, 1600, 3200),
    },
    "contrastive": {
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "temperature": (0.1, 0.3, 1.0),
        "corrupted": (0.1, 0.3, 0.5, 0.7),
        "code": ("activation", "linear"),
        "steps": (400, 800),
    },
    "supervised": {
        "steps": (30, 100, 300),
        "learning_rate": (3e-3, 1e-2, 3e-2),
        "dropped": (0.0, 0.2, 0.5, 0.7),
        "weight_decay": (0.0, 0.1, 1.0, 3.0, 10.0),
        "code": ("activation", "linear"),
    },
}
"""What is tried for each setting, in the order of search."""


def make_parser() -> Parser:
    """What the command takes."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, nargs="+", metavar="SOURCE", help="meta-training data")
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=TUNED,
        default=list(TUNED),
        metavar="NAME",
        help=f"of {', '.join(TUNED)} (default all)",
    )
    parser.add_argument("--ways", type=at_least(2), default=10, help="classes in a task (default 10)")
    parser.add_argument("--shots", type=at_least(1), default=10, help="labelled examples of each class (default 10)")
    parser.add_argument("--queries", type=at_least(1), default=10, help="examples of each class to tell (default 10)")
    parser.add_argument("--tasks", type=at_least(2), default=10, help="tasks from each source (default 10)")
    parser.add_argument("--size", type=at_least(1), default=14, metavar="S", help="images as S x S pixels (default 14)")
    parser.add_hidden_layers()
    parser.add_argument("--seed", type=at_least(0), default=0, help="decides the tasks")
    parser.add_device()
    parser.add_standardise()
    parser.add_track()
    parser.add_argument("--threads", type=threads, default=1, metavar="N", help="CPU threads (default 1)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="settings file to write (default: the one that evaluate.py reads)"
    )
    return parser


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The checked arguments."""
    arguments = make_parser().parse_args(argv)
    arguments.out = arguments.out or settings_file(units_compete(arguments.activation))
    return arguments


class Trials:
    """Accuracies of one method by its settings, measured once each."""

    def __init__(self, method: str, sources: Mapping[str, TaskSource], arguments: argparse.Namespace) -> None:
        self.method, self.sources, self.arguments = method, sources, arguments
        self.found: dict[Any, dict[str, float]] = {}

    def accuracy(self, settings: Any) -> float:
        """Mean over sources of the mean accuracy on their tasks."""
        if settings in self.found:
            return _mean(self.found[settings])
        network = MLPs((tuple(self.arguments.hidden),), activations=(self.arguments.activation,))
        company = Company(
            Use(network, device=self.arguments.device),
            replace(BaselineSettings(), **{self.method: settings}),
            rule=None,
            points=(0,),
        )
        methods = make_baselines([self.method], company)
        by_source = {}
        for name, source in self.sources.items():
            shots, tasks, seed = self.arguments.shots, self.arguments.tasks, self.arguments.seed
            (measured,) = compare(methods, source, shots=[shots], tasks=tasks, seed=seed)
            by_source[name] = sum(measured.accuracies) / tasks
        self.found[settings] = by_source
        print(f"{self.method} {asdict(settings)}: {100 * _mean(by_source):.2f}", flush=True)
        return _mean(by_source)

    def search(self, starts: Sequence[Any]) -> Any:
        """The best settings found from the best of ``starts``, by one setting after the other."""
        best = max(starts, key=self.accuracy)
        for key, values in GRIDS[self.method].items():
            if key == "code" and self.arguments.activation in LINEAR_OUTPUTS:
                continue  # before its activation or after it, the last layer answers the same
            best = max((replace(best, **{key: value}) for value in values), key=self.accuracy)
        return best

    def entry(self, chosen: Any) -> dict[str, Any]:
        """What the settings file says about the method: tries from best to worst."""
        tried = sorted(self.found.items(), key=lambda one: -_mean(one[1]))
        by_source = self.found[chosen]
        return {
            "settings": asdict(chosen),
            "accuracy": {"mean": round(_mean(by_source), 4), **{k: round(v, 4) for k, v in by_source.items()}},
            "tried": [{"accuracy": round(_mean(found), 4), **asdict(settings)} for settings, found in tried],
        }


def _mean(by_source: Mapping[str, float]) -> float:
    return sum(by_source.values()) / len(by_source)


def write(path: Path, entries: Mapping[str, Any]) -> None:
    """Write the settings file at ``path``: whole or not at all."""
    ordered = {name: entries[name] for name in TUNED if name in entries}
    text = "# Settings of the hand-written methods, chosen by scripts/tune_baselines.py on meta-training data alone.\n"
    with atomic_write(path) as file:
        file.write((text + yaml_lines({"methods": ordered})).encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Tune the methods one after the other; the file is written after each."""
    arguments = parse(argv)
    writable(arguments.out)
    for source in arguments.data:
        keeps(source, out=arguments.out)
    torch.set_num_threads(arguments.threads)
    made = {"command": command("tune_baselines", argv), "commit": commit()}  # of the code that is about to run
    entries: dict[str, Any] = {}
    known = BaselineSettings()
    if arguments.out.exists():
        known = read_settings(arguments.out)  # refuses a file of another kind, which is not to be overwritten
        entries = parse_yaml(arguments.out.read_text(encoding="utf-8"), str(arguments.out))["methods"]
    drawn = {"ways": arguments.ways, "shots": arguments.shots, "queries": arguments.queries, "permute": True}
    standard = arguments.standardise
    sources = {
        name: TaskSource(
            tuple(load_source(name, size=arguments.size, seed=arguments.seed, standardise=standard)), **drawn
        )
        for name in arguments.data
    }
    for method in arguments.methods:
        trials = Trials(method, sources, arguments)
        chosen = trials.search([getattr(start, method) for start in (BaselineSettings(), known)])
        entries[method] = {**trials.entry(chosen), **made}
        write(arguments.out, entries)
    with tracked(arguments, "tune_baselines", {**drawn, **made, "data": arguments.data}) as tracker:
        rows = [[name, json.dumps(entries[name])] for name in arguments.methods]
        tracker.log_table(0, "report/tuned", ["method", "settings"], rows)
    return 0
