"""--track: what a script found, in wandb as well."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from outer_loop.config.schema import TrackingConfig
from outer_loop.run.tracking import Tracker, Trackers, open_mirrors

FOLDER = Path("runs")
"""Where wandb's files lie, beside those of meta-training runs."""


@contextmanager
def tracked(arguments: argparse.Namespace, command: str, settings: Mapping[str, Any]) -> Iterator[Tracker]:
    """A tracker of the script called ``command``, with ``settings`` as its config: wandb's if ``--track`` asks for it.

    Where wandb fails, one line on stderr says so and the script goes on.
    """

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    mirrors: list[Tracker] = []
    if arguments.track is not None:
        run_id = f"{command}-{time.strftime('%Y%m%d-%H%M%S')}-{time.time_ns() % 2**24:06x}"
        how = TrackingConfig(mode=arguments.track, job_type=command)
        mirrors = open_mirrors(FOLDER / run_id, settings, run_id, how, say)
        if mirrors:
            say(f"tracked in {FOLDER / run_id}")
    with closing(Trackers(Tracker(), mirrors, say)) as tracker:
        yield tracker
