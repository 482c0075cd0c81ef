"""``strokes``: Japanese characters of up to eight strokes, drawn anew 20 times each from KanjiVG's strokes."""

import math
import re
from collections.abc import Sequence

import numpy as np
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path

from tasks.data.glyph_fonts import Points, Strokes
from tasks.data.glyphs import Jitter, render
from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.class_split import class_split
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe

WHEEL = "kanjivg-20260714-py3-none-any.whl"
MOST_STROKES = 8
DRAWINGS = 20
SEED, SPLIT_SEED = 7, 8
SIDE = 109
"""Of KanjiVG's square."""
POINTS = 12
"""On each curve of a stroke."""
JITTER = 0.035
"""Of a stroke's place and of its bend, in sides."""
LINEAR_JITTER = 0.15
"""Of the matrix that turns and stretches a stroke."""

LOOKALIKES = (
    ".Iclosvwxz⻖あいうえおつぱぴぷぽやゆよわゕゖ゜アイウエオヂツプヘベペポヤユヨワヵヶ・ヽ一事二井兔全凡凩刂匆因太姐巳干戍抉拂拔曵李杲杷枇枡氵氺牡狒王瓩甸礻祈米耒"
    "育苑英衤車阝！𦥑"
)
"""Left out: drawn upright and of one size they correlate above .93 with a character that is kept (four kept: .96)."""


def _points(path: str) -> Points:
    """The points [p, 2] along one stroke, given as the ``d`` of an SVG path."""
    pen = RecordingPen()
    parse_path(path, pen)
    t = np.linspace(0, 1, POINTS)[1:, None]
    points: list[Points] = []
    for kind, arguments in pen.value:
        corners = np.array(arguments, dtype=np.float64)
        if kind == "moveTo":
            points.append(corners)
        elif kind == "lineTo":
            points.append(points[-1][-1] * (1 - t) + corners * t)
        elif kind == "curveTo":
            a, (b, c, d) = points[-1][-1], corners
            points.append(a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t**2 * (1 - t) + d * t**3)
    return np.concatenate(points)


def _redrawn(strokes: Sequence[Points], generator: np.random.Generator) -> Strokes:
    """Every stroke moved, turned, stretched and bent a little, as another hand would."""
    drawn = []
    for points in strokes:
        middle = points.mean(0)
        along = np.linspace(-1, 1, len(points))[:, None]
        linear = np.eye(2) + generator.normal(0, LINEAR_JITTER, (2, 2))
        bend = generator.normal(0, JITTER, 2) * SIDE * (1 - along**2) / 2
        drawn.append((points - middle) @ linear.T + middle + generator.normal(0, JITTER, 2) * SIDE + bend)
    return Strokes(np.concatenate(drawn), tuple(map(len, drawn)))


def _jitter(generator: np.random.Generator) -> Jitter:
    angle, stretch, shear, size, right, down, weight = generator.uniform(-1, 1, 7)
    return Jitter(
        angle=math.radians(25 * angle),
        stretch=1.25**stretch,
        shear=0.2 * shear,
        size=1.2 + 0.06 * size,
        shift=(right, down),
        weight=0.5 + 0.5 * weight,
    )


def _build(files: Files, progress: Progress) -> Products:
    characters: dict[str, list[Points]] = {}
    for name, svg in read_members(files[WHEEL], r"kanji/[0-9a-f]{5}\.svg"):
        paths = re.findall(r'<path\b[^>]*\bd="([^"]+)"', svg.decode())
        character = chr(int(name[6:11], 16))
        if 0 < len(paths) <= MOST_STROKES and character not in LOOKALIKES:
            characters[character] = [_points(path) for path in paths]
    names = sorted(characters)
    generator = np.random.default_rng(SEED)
    images = []
    with progress("strokes: characters", len(names)) as advance:
        for name in names:
            images += [render(_redrawn(characters[name], generator), _jitter(generator)) for _ in range(DRAWINGS)]
            advance(1)
    counts = np.array([len(characters[name]) for name in names], np.int64)
    arrays: dict[str, Array] = {
        "x": np.stack(images),
        "y": np.repeat(np.arange(len(names), dtype=np.int64), DRAWINGS),
        "split": np.repeat(class_split(len(names), SPLIT_SEED), DRAWINGS),
        "group": np.repeat(counts, DRAWINGS),
        "class_names": np.array(names),
    }
    return {"strokes": arrays}


RECIPE = Recipe(
    summary="1,510 characters of up to 8 strokes, 20 drawings each, 28 × 28, split by character 1,057 / 151 / 302",
    licence="CC BY-SA 3.0",
    citation="Ulrich Apel: KanjiVG, kanjivg.tagaini.net",
    products=("strokes",),
    ways=(
        (
            Download(
                WHEEL,
                ("pip:kanjivg==20260714",),
                "sha256:5190e7ec4eb513dbe6865b2ed52c58287fc10ea514b9409e4cf66ce7db41644d",
            ),
        ),
    ),
    build=_build,
    built_with=("pillow", "fonttools", "numpy"),
)
