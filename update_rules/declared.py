"""Inner steps look at the views that their rule consumes, since tasks give no others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

VIEWS = ("unlabelled", "support_x", "support_y", "query_x", "unlabelled_set")
"""All views that a task has (``tasks.views``)."""


@contextmanager
def only_declared(rule: str, consumes: Sequence[str]) -> Iterator[None]:
    """Raise ValueError where the step of ``rule`` asks inside for a view that it does not say it consumes."""
    try:
        yield
    except KeyError as error:
        asked = error.args[0] if error.args else None
        if asked in VIEWS and asked not in consumes:
            declared = f"consumes = {(*consumes, asked)!r}"
            raise ValueError(f"rule {rule}: its step looks at {asked!r}, which it must declare: {declared}") from None
        raise
