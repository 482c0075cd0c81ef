"""Data sets on disk: where they lie, whether they are whole, and how they get there.

Beside ``NAME.npz`` lies ``NAME.json``: where it came from, its licence, and the checksums of what was fetched and of
what was built.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from common.atomic_file import atomic_write, remove_temporary_files, write_json
from tasks.data.raw import Array
from tasks.data.recipes.contract import Download, Files, Progress, Recipe
from tasks.data.recipes.fetching import fetch

State = Literal["missing", "whole", "damaged", "your own"]


def checksum(arrays: Mapping[str, Array]) -> str:
    """SHA-256, in hex, of names, dtypes, shapes and values, whatever the file that holds them."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def state(name: str, folder: Path) -> State:
    """Of the data set ``name`` in ``folder``; ``your own`` is a file that no recipe made, which stays as it is."""
    path, beside = folder / f"{name}.npz", folder / f"{name}.json"
    if not path.exists():
        return "missing"
    if not beside.exists():
        return "your own"
    try:
        told = json.loads(beside.read_text(encoding="utf-8"))["built"]["file"]
    except (ValueError, KeyError, TypeError):
        return "your own"
    if told == _sha256(path):
        return "whole"
    with (
        contextlib.suppress(ValueError, OSError, zipfile.BadZipFile),
        path.open("rb") as file,
        zipfile.ZipFile(file) as archive,
    ):
        if archive.testzip() is None:
            return "your own"  # a whole file, put in the place of ours
    return "damaged"


def build(name: str, recipe: Recipe, folder: Path, progress: Progress) -> dict[str, dict[str, Array]]:
    """Fetch, build and write the products of ``recipe``, called ``name``, into ``folder``; they are returned too.

    A product that is there by one's own hand stays as it is. What was fetched is kept in ``folder/downloads/name``.
    Raises OSError where files cannot be had or written, ValueError where what came is damaged or what was built is not
    what the recipe says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_temporary_files(folder)
    files = fetch(name, recipe.ways, folder / "downloads" / name, progress)
    products = recipe.build(files, progress)
    for product, arrays in products.items():
        if recipe.sha256.get(product, found := checksum(arrays)) != found:
            raise ValueError(f"{product}: built with checksum {found}, expected {recipe.sha256[product]}")
        if state(product, folder) != "your own":
            _write(product, recipe, folder, files, arrays)
    return products


def _write(product: str, recipe: Recipe, folder: Path, files: Files, arrays: Mapping[str, Array]) -> None:
    """Write the npz file and, before it gets its name, what is told beside it."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    told: dict[str, Any] = {
        "summary": recipe.summary,
        "licence": recipe.licence,
        "citation": recipe.citation,
        "fetched": {
            name: {"addresses": _addresses(recipe, name), "sha256": _sha256(path)} for name, path in files.items()
        },
        "built": {"arrays": checksum(arrays), "file": hashlib.sha256(buffer.getbuffer()).hexdigest()},
        "with": {package: version(package) for package in recipe.built_with},
    }
    write_json(folder / f"{product}.json", told)
    with atomic_write(folder / f"{product}.npz") as file:
        file.write(buffer.getbuffer())


def _addresses(recipe: Recipe, name: str) -> list[str]:
    every: list[Download] = [download for way in recipe.ways for download in way]
    return [address for download in every if download.name == name for address in download.addresses]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
