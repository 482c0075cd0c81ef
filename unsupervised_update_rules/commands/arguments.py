"""What the scripts' command lines share: errors as one line, and checks before long work starts."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch

from common.home_folder import expanded
from inner_loop.inner_settings import LEAST, InnerSettings
from inner_loop.networks.activations import NETWORK_ACTIVATIONS
from inner_loop.networks.mlp import MLPs
from tasks.data.named_source import data_folders
from update_rules.rule_file import PRETRAINED

USUAL = MLPs(((64, 64),), 32, ("relu",))
"""The base network where nobody says which."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ValueErrors, for ``entry.run`` to print in one line."""

    def error(self, message: str) -> NoReturn:
        """Raise ValueError with ``message``."""
        raise ValueError(f"{message}; {self.prog} --help lists the options")

    def add_hidden_layers(self, said: str = "") -> None:
        """Add --hidden and --activation; if something else has ``said`` what networks are, None where not given."""
        hidden, activation = USUAL.hidden[0], USUAL.activations[0]
        told = [f" (default {said} {usual})" if said else "" for usual in (" ".join(map(str, hidden)), activation)]
        least, default = at_least(LEAST["hidden"]), None if said else list(hidden)
        self.add_argument(
            "--hidden", type=least, nargs="*", default=default, metavar="N", help=f"hidden units{told[0]}"
        )
        self.add_argument(
            "--activation",
            choices=list(NETWORK_ACTIVATIONS),
            default=None if said else activation,
            help=f"of the base network{told[1]}",
        )

    def add_base_network(self) -> None:
        """Add --hidden, --outputs, --activation, --steps and --batch, None where not given."""
        usual, said = InnerSettings(), "as the rule's file says, else"
        self.add_hidden_layers(said)
        for name, metavar, meaning, default in (
            ("outputs", "N", "features", USUAL.outputs),
            ("steps", "K", "inner steps", usual.steps),
            ("batch", "B", "examples a step", usual.batch),
        ):
            told = f"{meaning} (default {said} {default})"
            self.add_argument(f"--{name}", type=at_least(LEAST[name]), metavar=metavar, help=told)

    def add_label(self, *, needed: bool) -> None:
        """Add --label, and --no-label unless classes are ``needed``."""
        self.add_argument("--label", metavar="COLUMN", help="the column of csv:FILE that holds the classes")
        if not needed:
            nothing = "take no classes from the data; all columns of csv:FILE are then inputs"
            self.add_argument("--no-label", dest="label", action="store_const", const="", help=nothing)

    def add_standardise(self) -> None:
        """Add --standardise and --no-standardise."""
        self.add_argument(
            "--standardise",
            action=argparse.BooleanOptionalAction,
            default="auto",
            help="bring the columns of tables to mean 0 and variance 1 (default: unless they are on such a scale)",
        )

    def add_trust(self) -> None:
        """Add --trust."""
        self.add_argument(
            "--trust",
            nargs="+",
            action="extend",
            default=[],
            metavar="MODULE",
            help="Python modules of your own whose code a file that is read may ask for",
        )

    def add_track(self) -> None:
        """Add --track."""
        self.add_argument(
            "--track",
            nargs="?",
            const="auto",
            choices=("auto", "online", "offline"),
            help="log what is found in wandb too: online where a key is configured, else offline, or as said",
        )

    def add_device(self) -> None:
        """Add --device."""
        self.add_argument(
            "--device", type=device, default="cpu", metavar="D", help="where networks are trained: cpu or cuda"
        )

    def expect_different(self, arguments: argparse.Namespace, *options: str) -> None:
        """Raise ValueError where one of ``options``, each a list or None, has a value more than once."""
        for option in options:
            given = getattr(arguments, option) or []
            twice = {str(one) for one in given if given.count(one) > 1}
            if twice:
                self.error(f"got --{option} {' '.join(sorted(twice))} more than once, expected different ones")


GIVEN = ("hidden", "outputs", "activation", "steps", "batch", "normalisation", "size", "device")
"""What ``evaluation.protocol.use_of`` takes of arguments."""


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of how rules are used: None where nothing was."""
    return {name: getattr(arguments, name, None) for name in GIVEN}


def at_least(least: int) -> Callable[[str], int]:
    """A type for an argument: a whole number of ``least`` or more."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number of {least} or more")
        return value

    return parse


def threads(text: str) -> int:
    """A type for an argument: CPU threads, from 1 to the number of processors."""
    count, most = at_least(1)(text), os.cpu_count() or 1
    if count > most:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected at most {most}, the processors here")
    return count


def device(text: str) -> torch.device:
    """A type for an argument: ``cpu`` or ``cuda``, where there is one."""
    if text not in ("cpu", "cuda"):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected cpu or cuda")
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("got 'cuda', but PyTorch finds no CUDA device here; take cpu")
    return torch.device(text)


def different(**files: Path | None) -> None:
    """Raise ValueError if two arguments name the same file to write."""
    seen: dict[Path, str] = {}
    for name, path in files.items():
        if path is not None and seen.setdefault(path.resolve(), name) != name:
            raise ValueError(f"got {path} for --{seen[path.resolve()]} and --{name}, expected different files")


def keeps(given: str | Path | None, **outputs: Path | None) -> None:
    """Raise ValueError if one of the files to write is ``given``, a file that is read or the SOURCE of data in it."""
    if given is None:
        return
    named = {str(given), str(given).partition(":")[2]}
    named |= {name.rpartition(mark)[0] for name in named for mark in "@#"}
    paths = [Path(expanded(name)) for name in named if name]
    paths += [folder / f"{name}.npz" for folder in data_folders() for name in named if name]
    paths += [PRETRAINED / f"{name}.safetensors" for name in named if name]
    read = [path for path in paths if path.is_file()]
    for option, path in outputs.items():
        if path is not None and path.exists() and any(path.samefile(one) for one in read):
            raise ValueError(f"got {path} for --{option}, which would overwrite what is read; name another file")


def writable(path: Path | None) -> None:
    """Raise OSError, naming ``path``, unless a file can be written there; None needs nothing."""
    if path is None:
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder, expected the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"cannot write {path}: no permission to write in {path.parent}")


def command(script: str, argv: Sequence[str] | None) -> str:
    """The command line that ran ``scripts/{script}.py`` with ``argv`` (None: this process's own), to be run again."""
    return shlex.join(["python", f"scripts/{script}.py", *(sys.argv[1:] if argv is None else argv)])
