"""``icons``: concepts such as bell, cloud and arrow-left, each drawn by twenty and more icon sets."""

import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np
from PIL import Image

from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.class_split import class_split
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe

ARCHIVE = "iconify-json-2.2.535.tgz"
SIDE = 28
SEED, SPLIT_SEED = 11, 9
FEWEST_SETS, MOST_ICONS = 20, 40
LEAST_INK = 3.5
"""Mean value of an image below which it counts as blank."""
ALIKE = 0.999
"""Correlation at which two icons of a concept count as one."""

LICENCES = ("MIT", "CC-BY-4.0", "Apache-2.0", "OFL-1.1", "ISC", "BSD-3-Clause", "Unlicense")
OTHER_KINDS = ("Thematic", "Logos", "Emoji", "Flags / Maps", "Programming")

_STYLES = (
    "alt baseline basic bold broken bulk duo duotone fat fill filled flat flush glyph icon icons ios light line lined "
    "linear md medium normal o outline outlined regular remix round rounded s sharp simple solid stroke thick thin "
    "tone twotone"
)
STYLES = frozenset(_STYLES.split())
"""Words at either end of a name that say how an icon is drawn, not what."""

_LEFT_OUT = (
    "angle-down angle-left angle-right angle-up arrow-down-circle arrow-left-circle arrow-right-circle arrow-up-circle "
    "border-inner chart-bar coins comments ellipsis files graph headphone images luggage notes npm pie-chart rotate "
    "rotate-left rotate-right shirt tags thumbs-down thumbs-up users windows"
)
LEFT_OUT = frozenset(_LEFT_OUT.split())
"""Plurals, other orders of words and near synonyms of concepts that are kept, and those with few different icons."""


def _concept(name: str) -> str:
    """The name of an icon without numbers and styles around it."""
    words = name.split("-")
    while len(words) > 1 and (words[-1] in STYLES or re.fullmatch(r"\d+(px)?", words[-1])):
        words.pop()
    while len(words) > 1 and words[0] in STYLES:
        words.pop(0)
    return "-".join(words)


def _is_ours(info: Mapping[str, Any]) -> bool:
    """Whether a set has a permissive licence, one colour and icons of the usual kind, among them sets now hidden."""
    usual = info.get("category") or info.get("hidden")
    return (
        info["license"].get("spdx") in LICENCES
        and not info.get("palette")
        and bool(usual)
        and info.get("category") not in OTHER_KINDS
    )


def _drawn(icons: Mapping[str, Any], name: str) -> Array | None:
    """The icon ``name`` of a set as uint8 [28, 28], ink bright; None if it is blank or only another name of one."""
    import resvg_py

    icon = icons["icons"].get(name)
    if icon is None or icon.get("hidden"):
        return None
    default = {"left": 0, "top": 0, "width": 16, "height": 16}
    left, top, width, height = (icon.get(key, icons.get(key, value)) for key, value in default.items())
    body = icon["body"].replace("currentColor", "white")
    box = f'width="{width}" height="{height}" viewBox="{left} {top} {width} {height}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {box}>{body}</svg>'
    wide = width >= height
    png = resvg_py.svg_to_bytes(
        svg_string=svg, skip_system_fonts=True, width=SIDE if wide else None, height=None if wide else SIDE
    )
    with Image.open(io.BytesIO(bytes(png))) as image:
        ink = image.convert("RGBA").getchannel("A")
    square = Image.new("L", (SIDE, SIDE))
    square.paste(ink, ((SIDE - ink.width) // 2, (SIDE - ink.height) // 2))
    pixels = np.asarray(square)
    return pixels if pixels.mean() >= LEAST_INK else None


def _candidates(
    sets: Mapping[str, Any], by_set: Mapping[str, list[str]], generator: np.random.Generator
) -> Iterator[tuple[str, Array]]:
    """Set and icon, the sets in random order: one icon of each, then a second of those that have one, and so on."""
    order = [sorted(by_set)[place] for place in generator.permutation(len(by_set))]
    for names in zip_longest(*(by_set[key] for key in order)):
        for key, name in zip(order, names, strict=True):
            if name is not None and (pixels := _drawn(sets[key], name)) is not None:
                yield key, pixels


def _icons_of(
    sets: Mapping[str, Any], by_set: Mapping[str, list[str]], generator: np.random.Generator
) -> list[tuple[str, Array]]:
    """At most MOST_ICONS of a concept, no two alike."""
    kept: list[tuple[str, Array]] = []
    seen = np.zeros((0, SIDE * SIDE))
    for key, pixels in _candidates(sets, by_set, generator):
        shape = pixels.ravel() - pixels.mean()
        shape /= max(float(np.linalg.norm(shape)), 1e-9)
        if len(kept) < MOST_ICONS and (seen @ shape < ALIKE).all():
            kept.append((key, pixels))
            seen = np.vstack([seen, shape])
    return kept


def _build(files: Files, progress: Progress) -> Products:
    try:
        import resvg_py  # noqa: F401
    except ImportError:
        raise ValueError("icons are drawn by resvg, which is not installed: pip install resvg-py") from None
    sets = {}
    for _, content in read_members(files[ARCHIVE], r"package/json/[^/]+\.json"):
        icons = json.loads(content)
        if _is_ours(icons["info"]):
            sets[icons["prefix"]] = icons
    concepts: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key, icons in sets.items():
        for name in [*icons["icons"], *icons.get("aliases", {})]:
            concepts[_concept(name)][key].append(name)
    names = sorted(name for name, by in concepts.items() if len(by) >= FEWEST_SETS and name not in LEFT_OUT)
    generator = np.random.default_rng(SEED)
    found = []
    with progress("icons: concepts", len(names)) as advance:
        for name in names:
            found.append(_icons_of(sets, concepts[name], generator))
            advance(1)
    prefixes = sorted({key for kept in found for key, _ in kept})
    infos = [sets[key]["info"] for key in prefixes]
    sizes = [len(kept) for kept in found]
    arrays = {
        "x": np.stack([pixels for kept in found for _, pixels in kept]),
        "y": np.repeat(np.arange(len(names), dtype=np.int64), sizes),
        "split": np.repeat(class_split(len(names), SPLIT_SEED), sizes),
        "class_names": np.array(names),
        "group": np.array([prefixes.index(key) for kept in found for key, _ in kept], np.int64),
        "group_names": np.array(prefixes),
        "group_licence": np.array([info["license"]["spdx"] for info in infos]),
        "group_author": np.array([info["author"]["name"] for info in infos]),
    }
    return {"icons": arrays}


RECIPE = Recipe(
    summary="622 concepts of 19 to 40 icons each, 28 × 28, split by concept 435 / 63 / 124",
    licence="that of each icon set, in group_licence: MIT, CC BY 4.0, Apache-2.0, OFL-1.1, ISC, BSD-3, Unlicense",
    citation="Iconify and the authors in group_author",
    products=("icons",),
    ways=(
        (
            Download(
                ARCHIVE,
                ("npm:@iconify/json@2.2.535",),
                "sha256:1a545f86fa224d6531d8fb101dcbe83aac2b28689a21cbed6fc68318a5af4d91",
            ),
        ),
    ),
    build=_build,
    built_with=("pillow", "resvg-py", "numpy"),
)
