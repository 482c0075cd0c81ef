"""Writing a file so that its name never stands for half of it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY_SUFFIX = ".tmp"


@contextmanager
def atomic_write(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file that becomes ``path`` when the block ends well, and vanishes when it does not.

    The bytes reach the disk under a temporary name in the same folder, which is then renamed: who opens ``path``, also
    after a crash, finds the old file or the whole new one. Raises OSError, naming ``path``, if it cannot be written.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise type(error)(f"cannot write {path}: {error.strerror or error}") from error
        raise


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` to ``path`` as JSON for people too, one value a line. Raises as ``atomic_write``."""
    with atomic_write(path) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def temporary_name(path: Path) -> Path:
    """The name under which this process writes what becomes ``path``; ``remove_temporary_files`` knows it."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")


def sync_folder(folder: Path) -> None:
    """Make the renames done in ``folder`` last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_temporary_files(folder: Path) -> None:
    """Delete what writers that were killed left behind in ``folder``."""
    for leftover in folder.glob(f".*{TEMPORARY_SUFFIX}"):
        leftover.unlink(missing_ok=True)
