"""On which data files were trained, and which seed split these, so that nothing is judged on what it has seen."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from common.tensor_file import file_header
from tasks.data.sources import place_of
from tasks.dataset import Dataset

Seen = tuple[tuple[str, int], ...]
"""Where data lie, by ``place_of``, each with the seed of the split."""


def lineage(path: str | Path) -> Seen:
    """What the rule, network or encoder in the file at ``path`` was trained on, and what it started from.

    Nothing where the file does not say. Raises OSError and ValueError for no file of ours.
    """
    return lineage_of(file_header(path, "file"))


def lineage_of(header: Mapping[str, str]) -> Seen:
    """The same from the header of a file."""
    try:
        if "lineage" in header:
            return tuple((str(place), int(seed)) for place, seed in json.loads(header["lineage"]))
        sources = json.loads(header["sources"]) if "sources" in header else [header["source"]]
        return trained_on(map(str, sources), int(header["seed"]))
    except (KeyError, TypeError, ValueError):  # people may write there what they like
        return ()


def trained_on(sources: Iterable[str], seed: int) -> Seen:
    """What is trained on ``sources`` that ``seed`` splits has seen."""
    return tuple(dict.fromkeys((place_of(source), seed) for source in sources))


def seeds_of(source: str, seen: Iterable[tuple[str, int]]) -> list[int]:
    """The seeds by which ``source`` was split for what has ``seen`` it."""
    here = place_of(source)
    return list(dict.fromkeys(seed for place, seed in seen if place == here))


def same_parts(one: Sequence[Dataset], other: Sequence[Dataset]) -> bool:
    """Whether two readings of a SOURCE, split by two seeds, hold the same examples."""
    return [part.fingerprint for part in one] == [part.fingerprint for part in other]
