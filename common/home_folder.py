"""The home folder in paths that people write."""

from pathlib import Path


def expanded(path: str | Path) -> str:
    """``path`` with the home folder for ~ or ~user; as it is where there is no such user."""
    try:
        return str(Path(path).expanduser()) if str(path).startswith("~") else str(path)
    except RuntimeError:  # no such user
        return str(path)
