"""What of a document is prose, and what of it is too long to read."""

import re
from typing import NamedTuple


class Limits(NamedTuple):
    """How long a page, a paragraph and a sentence may be, in lines and words."""

    lines: int = 200
    paragraph: int = 60
    sentence: int = 30


def prose(text: str) -> list[str]:
    """The paragraphs and list items of a Markdown ``text``, without code, tables, headings and targets of links."""
    text = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ *(?:\||#+ ).*$", "\n", text, flags=re.MULTILINE)
    text = re.sub(r"!\[[^]]*\]\([^)]*\)", "", text)
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return [part.strip() for part in re.split(r"\n\s*\n|^ *(?:[-*]|\d+\.) ", text, flags=re.MULTILINE) if part.strip()]


def too_long(text: str, limits: Limits) -> list[str]:
    """What of ``text`` is longer than ``limits``."""
    found = [f"{count} lines"] if (count := len(text.splitlines())) > limits.lines else []
    for paragraph in prose(text):
        words = len(paragraph.split())
        found += [f"paragraph of {words} words: {paragraph[:60]}"] if words > limits.paragraph else []
        for sentence in re.split(r"[.:;?]\s", paragraph):
            words = len(sentence.split())
            found += [f"sentence of {words} words: {sentence[:60]}"] if words > limits.sentence else []
    return found
