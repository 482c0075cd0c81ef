"""Checkpoints: the whole state of a run on disk, complete at every instant, and read back without running any code."""

import io
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.atomic_file import atomic_write, remove_temporary_files

FORMAT = "unsupervised-update-rules checkpoint"
VERSION = 2


def save_checkpoint(path: str | Path, payload: dict[str, Any]) -> None:
    """Write ``payload`` to ``path``, all or nothing: tensors, numbers, strings and None in dicts, lists and tuples.

    Raises TypeError, naming the key, for anything else in it, and OSError if it cannot be written.
    """
    _check_plain(payload, "payload")
    content = io.BytesIO()  # straight to the file, torch.save would turn a full disk into a RuntimeError
    torch.save({"format": FORMAT, "version": VERSION, "payload": payload}, content)
    with atomic_write(path) as file:
        file.write(content.getbuffer())


def load_checkpoint(path: str | Path) -> dict[str, Any]:
    """The payload of ``save_checkpoint``, tensors on the CPU. Every byte is checked, and no code in the file is run.

    Raises OSError if ``path`` cannot be read, and ValueError if it is damaged, of another version or no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not compare the checksums
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise FileNotFoundError(f"checkpoint {path}: not found") from None
    except OSError as error:
        raise type(error)(f"checkpoint {path}: {error.strerror or error}") from None
    except Exception:  # a damaged or hostile file makes the zip reader and the unpickler raise nearly anything
        content, damaged = None, None
    if damaged is not None:
        raise ValueError(f"checkpoint {path}: damaged in {damaged}, expected a whole file; take an earlier one")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"checkpoint {path}: damaged or not a checkpoint, expected a file that meta_train.py wrote")
    if content.get("version") != VERSION:
        raise ValueError(
            f"checkpoint {path}: got version {content.get('version')}, expected {VERSION}; resume with the code that "
            "wrote it, or start anew in another run_dir"
        )
    payload = content.get("payload")
    if not isinstance(payload, dict):
        raise ValueError(f"checkpoint {path}: holds no payload, expected a file that meta_train.py wrote")
    return payload


def _check_plain(value: object, where: str) -> None:
    """Raise TypeError unless ``value`` is made of what ``load_checkpoint`` can read back."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            _check_plain(item, f"{where}[{place}]")
    elif value is not None and not isinstance(value, Tensor) and type(value) not in (bool, int, float, str):
        raise TypeError(f"{where} is a {type(value).__name__}, expected tensors, numbers, strings, dicts and lists")


class Checkpoints:
    """The checkpoint folder of a run: ``last.pt``, ``best.pt`` and the newest ``keep`` of ``step_N.pt``.

    Makes ``folder``, less the unfinished files of a killed run. Raises OSError if it cannot.
    """

    def __init__(self, folder: str | Path, keep: int) -> None:
        self.folder, self.keep = Path(folder), keep
        self.last, self.best = self.folder / "last.pt", self.folder / "best.pt"
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_temporary_files(self.folder)

    def save(self, outer_step: int, payload: dict[str, Any]) -> None:
        """Write ``step_N.pt``, make it ``last.pt``, then delete the oldest. Raises OSError and TypeError."""
        path = self.folder / f"step_{outer_step:08d}.pt"
        save_checkpoint(path, payload)
        with path.open("rb") as whole, atomic_write(self.last) as copy:  # no link: who changes one keeps the other
            shutil.copyfileobj(whole, copy)
        for old in step_files(self.folder)[: -self.keep or None]:
            old.unlink()

    def save_best(self, payload: dict[str, Any]) -> None:
        """Write ``best.pt``. Raises OSError and TypeError."""
        save_checkpoint(self.best, payload)


def step_files(folder: Path) -> list[Path]:
    """The checkpoints of single outer steps in ``folder``, oldest first; none where there is no such folder."""
    paths = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in paths if re.fullmatch(r"step_\d+\.pt", path.name))
