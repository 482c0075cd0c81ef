"""What is asked of measured results and where, and what is found there."""

from typing import Any, NamedTuple

from evaluation.statistics import Mean


class Place(NamedTuple):
    """Where accuracies of several methods compare: all that is the same for them but the seeds; None: not told."""

    source: str
    ways: int | None = None
    shots: int | None = None
    queries: int | None = None
    size: int | None = None
    permute: bool | None = None
    redraw: str | None = None
    inductive: bool | None = None
    readout: str | None = None
    sweep: str = ""  # the name of what is varied, or an empty string
    value: Any = None  # what it is here; None outside sweeps and for methods that a sweep leaves as they are


class Found(NamedTuple):
    """What ``file`` says of a method on the tasks of one seed: the accuracy of each, or their mean alone."""

    file: str
    tasks: int
    values: list[float] | Mean
    rule: str = ""  # the file of the rule that was judged, if seeds are of its training


class Answer(NamedTuple):
    """A mean over so many tasks, as a share, with its 95 % interval (NaN: not stored), and the files it came from."""

    mean: Mean
    tasks: int
    files: list[str]
