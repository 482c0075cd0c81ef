"""The ``glyphs`` source: letters of many scripts as small bright-on-dark images, rendered from packaged fonts.

They resemble MNIST in size and placing, without a digit of any script or what looks like one: digits stay unseen.
"""

import contextlib
import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from common.atomic_file import atomic_write
from tasks.data.glyph_fonts import DIGITS, Drawing, Outline, OutlineFont, candidates, fonts, fonts_fingerprint
from tasks.data.npz_source import DAMAGED
from tasks.data.raw import RawData

VERSION = 1
"""To be raised when anything here or in the choice of fonts changes what is drawn."""
SEED = 0
SIDE = 28
"""Side of an image, in pixels."""
BOX = 20.0
"""Longer side of a letter, in pixels."""
IMAGES = 40
"""Images of each class."""
LOOKALIKE = 0.93
"""Correlation of mean upright images at which two characters count as one."""
DIGIT_LOOKALIKE = 0.88
"""The same at which a letter looks like a digit (З like 3, б like 6)."""
SCALE = 3
"""Pixels drawn for each pixel of an image, along each axis: the averaging makes smooth edges."""

LEVELS = 16
"""Steps from the thinnest to the boldest outline."""
CACHED = ("x", "y", "class_names", "group")
"""The arrays of the file in which rendered glyphs are kept."""

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Jitter:
    """How one image departs from the upright letter in the middle; the default is that letter."""

    angle: float = 0.0  # radians, within ±10°
    stretch: float = 1.0  # width over height, relative to the font's; within 1/1.12 to 1.12
    shear: float = 0.0  # within ±.12
    size: float = 1.0  # of the box, .93 to 1.07
    shift: tuple[float, float] = (0.0, 0.0)  # pixels to the right and down, within ±1
    weight: float = 0.5  # thinnest 0 to boldest 1


def jitters(count: int, generator: torch.Generator) -> list[Jitter]:
    """``count`` jitters, each quantity uniform in its range."""
    return [
        Jitter(
            angle=math.radians(20 * angle - 10),
            stretch=1.12 ** (2 * stretch - 1),
            shear=0.24 * shear - 0.12,
            size=0.93 + 0.14 * size,
            shift=(2 * right - 1, 2 * down - 1),
            weight=weight,
        )
        for angle, stretch, shear, size, right, down, weight in torch.rand(count, 7, generator=generator).tolist()
    ]


def render(drawing: Drawing, jitter: Jitter) -> Images:
    """``drawing`` as one uint8 image [28, 28]: jittered, its longer side 20 pixels, centred, antialiased."""
    pen_width = 0 if isinstance(drawing, Outline) else round(SCALE * (1.3 + 1.7 * jitter.weight))
    matrix, offset = _placing(drawing, jitter, pen_width)
    large = (SIDE * SCALE, SIDE * SCALE)
    if isinstance(drawing, Outline):
        back = np.linalg.inv(matrix)
        rows = np.column_stack([back, -back @ offset]).ravel().tolist()
        image = drawing.ink.transform(large, Image.Transform.AFFINE, rows, Image.Resampling.BILINEAR)
        image = image.filter(ImageFilter.BoxBlur(1)).point(_level(round(jitter.weight * LEVELS)))
    else:
        image = Image.new("L", large)
        pen = ImageDraw.Draw(image)
        points, start = drawing.points @ matrix.T + offset, 0
        for length in drawing.lengths:
            stroke = points[start : start + length]
            pen.line(stroke.ravel().tolist(), fill=255, width=pen_width, joint="curve")
            for x, y in (stroke[0].tolist(), stroke[-1].tolist()):
                pen.circle((x, y), pen_width / 2, fill=255)
            start += length
    return np.asarray(image.reduce(SCALE), dtype=np.uint8)


def _placing(drawing: Drawing, jitter: Jitter, pen_width: int) -> tuple[Floats, Floats]:
    """The matrix [2, 2] and offset [2] that take a drawing's points to the large image, with room for the pen."""
    cos, sin, root = math.cos(jitter.angle), math.sin(jitter.angle), math.sqrt(jitter.stretch)
    shape = np.array([[cos, -sin], [sin, cos]]) @ np.array([[root, jitter.shear / root], [0.0, 1 / root]])
    placed = drawing.points @ shape.T
    low, high = placed.min(0), placed.max(0)
    scale = (SCALE * BOX * jitter.size - pen_width) / (high - low).max()
    middle = SCALE * (SIDE / 2 + np.array(jitter.shift))
    return scale * shape, middle - scale * (low + high) / 2


@cache
def _level(step: int) -> list[int]:
    """The lookup table that cuts a blurred edge: at a high level strokes get thinner, at a low one bolder."""
    cut = 255 * (0.6 - 0.35 * step / LEVELS)
    return [min(max(round(2 * (value - cut) + 128), 0), 255) for value in range(256)]


def choose_characters() -> list[str]:
    """The candidates, without those that look like a digit or like a candidate before them.

    Compared are mean upright images over the outline fonts (Hershey's repeat the same letters with less detail).
    """
    outlines = [font for font in fonts() if isinstance(font, OutlineFont)]
    digits = np.stack([_mean_upright(digit, outlines) for digit in DIGITS])
    chosen: dict[str, Floats] = {}
    for character in candidates():
        mean = _mean_upright(character, outlines)
        unlike_digits = (digits @ mean).max() < DIGIT_LOOKALIKE
        if unlike_digits and (not chosen or (np.stack([*chosen.values()]) @ mean).max() < LOOKALIKE):
            chosen[character] = mean
    return [*chosen]


def _mean_upright(character: str, outlines: list[OutlineFont]) -> Floats:
    """The mean upright image of ``character`` [784], shifted to mean 0 and scaled to norm 1."""
    drawings = [font.draw(character) for font in outlines if character in font.characters]
    mean = np.mean([render(drawing, Jitter()) for drawing in drawings if drawing is not None], axis=0).ravel()
    mean -= mean.mean()
    return mean / np.linalg.norm(mean)


def draw_glyphs(generator: torch.Generator) -> RawData:
    """All classes, 40 images each, whose fonts take turns; ``group`` is the font's place in ``fonts()``."""
    characters = choose_characters()
    images, groups = [], []
    for character in characters:
        drawings = [
            (place, drawing)
            for place, font in enumerate(fonts())
            if character in font.characters and (drawing := font.draw(character)) is not None
        ]
        first = int(torch.randint(len(drawings), (), generator=generator))
        for number, jitter in enumerate(jitters(IMAGES, generator)):
            place, drawing = drawings[(first + number) % len(drawings)]
            images.append(render(drawing, jitter))
            groups.append(place)
    labels = np.repeat(np.arange(len(characters), dtype=np.int64), IMAGES)
    return RawData("glyphs", np.stack(images), labels, tuple(characters), np.array(groups, dtype=np.int64))


def glyphs() -> RawData:
    """The ``glyphs`` source: over 250 letters × 40 images of 28×28, the same in every run with the same packages.

    Kept below ``$XDG_CACHE_HOME`` (or ``~/.cache``) once rendered, which takes seconds, where that can be written.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "unsupervised-update-rules" / f"glyphs-{VERSION}-{fonts_fingerprint()[:16]}.npz"
    data = _read_cache(path)
    if data is None:
        data = draw_glyphs(torch.Generator().manual_seed(SEED))
        arrays: list[Any] = [data.x, data.labels, np.array(data.class_names), data.group]
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                np.savez_compressed(file, **dict(zip(CACHED, arrays, strict=True)))
    return data


def _read_cache(path: Path) -> RawData | None:
    """The cached data, or None if there are none that can be read."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as z:
            x, y, names, group = (z[key] for key in CACHED)
    except (KeyError, *DAMAGED):
        return None
    shapes_agree = x.shape == (len(names) * IMAGES, SIDE, SIDE) and y.shape == group.shape == x.shape[:1]
    return RawData("glyphs", x, y, tuple(names.tolist()), group) if shapes_agree else None
