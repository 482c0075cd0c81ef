"""Reading the members of zip, tar.gz and Debian packages without unpacking them to disk."""

import io
import re
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    EOFError,
    zlib.error,
    OSError,
    RuntimeError,
    subprocess.SubprocessError,
)
"""What reading a damaged archive may raise."""


def read_members(path: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Name and contents of every file in the archive at ``path`` whose whole name fits ``pattern``.

    In the order of the archive; links are left out. Raises ValueError for a damaged archive.
    """
    fits = re.compile(pattern).fullmatch
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if fits(name):
                        yield name, archive.read(name)
            return
        with tarfile.open(path) if path.suffix != ".deb" else _open_deb(path) as tar:
            for member in tar:
                if member.isfile() and fits(member.name):
                    file = tar.extractfile(member)
                    assert file is not None
                    yield member.name, file.read()
    except DAMAGED:
        raise ValueError(f"{path}: not an archive that can be read, delete it to fetch it again") from None


def _open_deb(path: Path) -> tarfile.TarFile:
    """The files of a Debian package; dpkg-deb is there wherever apt-get, which brought it, is."""
    unpacked = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=True).stdout
    return tarfile.open(fileobj=io.BytesIO(unpacked))
