"""Characters and the fonts that draw them, all from pip packages: matplotlib's TrueType and the Hershey stroke fonts.

A drawing is what a font makes of one character, before it is scaled, turned and placed on an image.
"""

import hashlib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np
from HersheyFonts import HersheyFonts
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Points = NDArray[np.float64]
"""[p, 2] x and y, y downwards."""

EM = 96
"""Pixels per em at which TrueType outlines are drawn before they are scaled."""

DEJAVU = tuple(
    f"DejaVu{family}"
    for family in (
        *("Sans", "Sans-Bold", "Sans-Oblique", "Sans-BoldOblique", "SansMono", "SansMono-Bold", "SansMono-Oblique"),
        *("Serif", "Serif-Bold", "Serif-Italic", "Serif-BoldItalic"),
    )
)
STIX = ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta")
COMPUTER_MODERN = ("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10", "cmmi10")
"""Their codes are letters between A and z only; elsewhere they are TeX's own."""

LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
GREEK = "ΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩαβγδεζηθικλμνξοπρστυφχψω"
CYRILLIC = "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩабвгдежзийклмнопрстуфхцчшщ"
OUTLINE_FONTS = (*DEJAVU, *STIX, *COMPUTER_MODERN)
HERSHEY_KEYS = {
    **dict.fromkeys(("futural", "futuram", "rowmant", "timesr", "timesi", "cursive", "scripts"), (LATIN, LATIN)),
    **dict.fromkeys(("greeks", "greekc"), (GREEK, LATIN[:24] + LATIN[26:50])),
    "cyrilc_1": (CYRILLIC, LATIN),
}
"""Stroke font -> the characters it has and, in the same order, the keys it keeps them under."""

MINIMUM_FONTS = 9
"""Fonts that must have a character for it to become a class: fewer would be one drawing over and over."""

DIGITS = "0123456789"


@dataclass(frozen=True, eq=False)
class Outline:
    """A filled glyph: ``ink`` is its greyscale picture, ``points`` the pixels at the ends of each of its rows."""

    ink: Image.Image
    points: Points


@dataclass(frozen=True, eq=False)
class Strokes:
    """A glyph of pen strokes: ``points`` are their corners, ``lengths`` how many points each stroke has."""

    points: Points
    lengths: tuple[int, ...]


Drawing = Outline | Strokes


class OutlineFont:
    """A TrueType font of matplotlib's, by file name; ``characters`` are those it has a glyph for."""

    def __init__(self, name: str) -> None:
        self.name = name
        path = str(_outline_path(name))
        self._font = ImageFont.truetype(path, EM, layout_engine=ImageFont.Layout.BASIC)
        known = set(LATIN) if name in COMPUTER_MODERN else set(map(chr, FT2Font(path).get_charmap()))
        self.characters = frozenset(known)

    def draw(self, character: str) -> Drawing | None:
        """The glyph of ``character``, or None if it leaves no ink."""
        return outline(self._font, character)


def outline(font: ImageFont.FreeTypeFont, character: str) -> Outline | None:
    """The glyph of ``character`` in ``font``, which is opened at EM pixels; None if it leaves no ink."""
    left, top, right, bottom = (int(edge) for edge in font.getbbox(character))
    if right <= left or bottom <= top:
        return None
    ink = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(ink).text((-left, -top), character, fill=255, font=font)
    dark = np.asarray(ink) > 127
    rows = np.flatnonzero(dark.any(1))
    if not len(rows):
        return None
    first, last = dark[rows].argmax(1), dark.shape[1] - dark[rows, ::-1].argmax(1)
    corners = [np.stack([x, y], 1) for x in (first, last) for y in (rows, rows + 1)]
    return Outline(ink, np.concatenate(corners).astype(np.float64))


class StrokeFont:
    """A Hershey font by name; ``characters`` are those it has a glyph for."""

    def __init__(self, name: str) -> None:
        self.name = name
        glyphs = HersheyFonts(load_default_font=name).all_glyphs
        self._strokes = {
            character: [stroke for stroke in glyphs[key].strokes if len(stroke) > 1]
            for character, key in zip(*HERSHEY_KEYS[name], strict=True)
        }
        self.characters = frozenset(self._strokes)

    def draw(self, character: str) -> Drawing | None:
        """The glyph of ``character``, or None if it leaves no ink."""
        strokes = self._strokes[character]
        if not strokes:
            return None
        points = np.concatenate([np.asarray(stroke, dtype=np.float64) for stroke in strokes])
        return Strokes(points, tuple(len(stroke) for stroke in strokes))


@cache
def fonts() -> tuple[OutlineFont | StrokeFont, ...]:
    """All fonts, in a fixed order."""
    outlines = [OutlineFont(name) for name in OUTLINE_FONTS]
    return (*outlines, *(StrokeFont(name) for name in HERSHEY_KEYS))


def fonts_fingerprint() -> str:
    """SHA-256, in hex, over the files and versions that the drawings depend on; quicker than loading the fonts."""
    digest = hashlib.sha256(f"pillow {version('pillow')}, Hershey-Fonts {version('Hershey-Fonts')}".encode())
    for name in OUTLINE_FONTS:
        digest.update(_outline_path(name).read_bytes())
    return digest.hexdigest()


def _outline_path(name: str) -> Path:
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


def candidates() -> list[str]:
    """Letters that enough fonts have, in the order Latin, Greek, Cyrillic, others by code point.

    Left out: whatever has a numeric value or a number in its name, in any script, and letters composed of a base letter
    and a mark, hook or stroke, which repeat that letter.
    """
    counts: dict[str, int] = {}
    for font in fonts():
        for character in font.characters:
            counts[character] = counts.get(character, 0) + 1
    first = {character: place for place, character in enumerate(LATIN + GREEK + CYRILLIC)}
    usable = [c for c, count in counts.items() if count >= MINIMUM_FONTS and _is_plain_letter(c)]
    return sorted(usable, key=lambda c: (first.get(c, len(first)), c))


NUMBER_WORDS = frozenset(
    (
        "DIGIT",
        "NUMBER",
        "NUMERAL",
        "TONE",
        "ZERO",
        "ONE",
        "TWO",
        "THREE",
        "FOUR",
        "FIVE",
        "SIX",
        "SEVEN",
        "EIGHT",
        "NINE",
    )
)


def _is_plain_letter(character: str) -> bool:
    """Whether ``character`` is a letter, not composed of others, that has nothing to do with numbers."""
    words = set(unicodedata.name(character, "").replace("-", " ").split())
    return (
        unicodedata.category(character) in ("Lu", "Ll", "Lo")
        and not unicodedata.decomposition(character)
        and unicodedata.numeric(character, None) is None
        and not words & (NUMBER_WORDS | {"WITH", "DIGRAPH", "LIGATURE"})
    )
