"""Where every command begins: what may be imported, and how errors become a line on stderr and an exit code."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import NoReturn

from unsupervised_update_rules import check_nothing_hides_us

USAGE_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141

PATIENCE_S = 0.5
"""Seconds of silence after which a command says what it waits for."""

NO_MEMORY = ("not enough memory", "can't allocate", "out of memory")
"""How PyTorch says so, on CPUs and on GPUs."""

COMMANDS = {
    "get_data": "bring or build the data sets that configs and pages name",
    "meta_train": "meta-train an update rule as a config says",
    "apply_rule": "train a base network on data of your own without labels, and write its features",
    "cluster": "find clusters in data of your own",
    "evaluate": "compare rules and other ways to features by few-shot accuracy",
    "one_shot_runs": "the error on Omniglot's official one-shot runs",
    "train_encoder": "train a convolutional autoencoder, whose codes make pseudo-classes",
    "compare_cost": "time and memory of outer steps of several configs, in turns",
    "gradient_report": "what directions of outer estimators are worth: bias, noise, cost",
    "tune_baselines": "choose the settings of hand-written methods on meta-training data",
    "make_dashboard": "build wandb's workspace and report for meta-training runs",
    "pages": "recompute the claims of a checkout of the repository and write its pages of results and of reference",
}
"""The commands, and what each does."""


LONG = ("meta_train",)
"""Commands whose logs are read while they run."""


def run_command(name: str) -> NoReturn:
    """Run the command called ``name``, one of COMMANDS, as ``run`` does.

    Modules in the folder that it is started in can be named by configs: a config, and a run of one's own, is trusted.
    """
    folder = os.getcwd()  # noqa: PTH109 (as Python itself writes it to sys.path)
    if folder not in sys.path:
        sys.path.append(folder)

    def main() -> int:
        try:
            check_nothing_hides_us()
        except ImportError as error:
            raise ValueError(str(error)) from None
        with _importing(name):
            import_module("common.notice").show_notices()
            import_module("common.allocator").keep_large_blocks()
            command = import_module(f"unsupervised_update_rules.commands.{name}")
        code: int = command.main()
        return code

    run(main)


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Say so where imports take long, and end in one line if they are interrupted, wherever they are then."""

    def interrupted(number: int, frame: FrameType | None) -> None:
        os.write(sys.stderr.fileno(), b"interrupted\n")
        os._exit(INTERRUPTED)

    watched, text = sys.stderr.isatty(), f"{name}: loading PyTorch"
    before = signal.signal(signal.SIGINT, interrupted)
    how = {"end": "\r", "file": sys.stderr, "flush": True} if watched else {"flush": True}  # stderr is for errors
    waiting = threading.Timer(PATIENCE_S, print, [text], how)
    waiting.daemon = True
    if watched or name in LONG:
        waiting.start()
    try:
        yield
    finally:
        waiting.cancel()
        if watched:
            print(" " * len(text), end="\r", file=sys.stderr, flush=True)
        signal.signal(signal.SIGINT, before)


def run(main: Callable[[], int]) -> NoReturn:
    """Call ``main`` and exit with what it returns.

    ValueError, OSError and a lack of memory are the user's to fix: one line ``error: ...`` on stderr and exit code 2.
    Ctrl-C exits with 130. With the environment variable ``UPDATE_RULES_TRACEBACK=1`` such errors keep their traceback.
    """
    try:
        code = main()
        sys.stdout.flush()  # so that a full disk or a closed pipe is reported here and not at shutdown
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # who read the output has left; what was to be written is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(BROKEN_PIPE)
    except (ValueError, OSError, MemoryError, RuntimeError) as error:
        if os.environ.get("UPDATE_RULES_TRACEBACK") == "1" or not _is_the_users(error):
            raise
        message = " ".join(_text(error).split()) or type(error).__name__
        print(f"error: {message}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    sys.exit(code)


def _is_the_users(error: Exception) -> bool:
    """Whether ``error`` is about what was given: a lack of memory is a RuntimeError, as is a part without a method."""
    theirs = isinstance(error, NotImplementedError) and " defines no " in str(error)
    return theirs or not isinstance(error, RuntimeError) or any(text in str(error) for text in NO_MEMORY)


def _text(error: Exception) -> str:
    """What ``error`` says; the system's own errors are put as the file and what is wrong with it."""
    if isinstance(error, RuntimeError | MemoryError) and not isinstance(error, NotImplementedError):
        return "not enough memory for networks, images and batches of this size; take smaller ones"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    return str(error)
