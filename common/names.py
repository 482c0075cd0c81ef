"""The nearest of the names there are, for error messages."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(given: str, valid: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the name in ``valid`` closest to ``given``, or nothing if none is close."""
    near = get_close_matches(given, list(valid), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
