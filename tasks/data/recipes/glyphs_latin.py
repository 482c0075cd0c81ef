"""``glyphs_latin``: digits and letters A-Z, a-z, each printed in hundreds of font families."""

import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import md5
from pathlib import Path

import numpy as np
from matplotlib.font_manager import findSystemFonts
from matplotlib.ft2font import FT2Font
from PIL import ImageFont

from common.notice import notice
from tasks.data.glyph_fonts import EM, LATIN, Outline, outline
from tasks.data.glyphs import BOX, Jitter, render
from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe

CHARACTERS = "0123456789" + LATIN
MERGED = "cijklmopsuvwxyz"
"""Small letters that look like their capitals once all are of one size."""
FEWEST_DIFFERENT = 30
"""Upright glyphs of a family that must differ: fewer is a font of boxes (one case alone has 36)."""
SAME = 0.9963
"""Correlation over all glyphs at which two families count as one."""
NO_LETTERS = frozenset(("Bit Blocks TTF BRK", "DB Layer 1 BRK", "DB Layer 2 BRK", "DB Layer 3 BRK"))
"""Families of parts of letters, to be printed over each other."""
FEW = 100
"""Families that are called few."""
SPLIT_SEED = 5
TEST_SHARE = 0.2

_PACKAGES = (
    "aenigma adf-accanthis adf-baskervald adf-berenis adf-gillius adf-ikarius adf-irianis adf-libris adf-mekanus "
    "adf-oldania adf-romande adf-solothurn adf-switzera adf-tribun adf-universalis adf-verana agave allerta "
    "anonymous-pro arapey averia-gwf b612 bajaderka bebas-neue beteckna breip bwht cabin cabinsketch campania "
    "cantarell cardo cherrybomb clear-sans comfortaa comic-neue courier-prime crosextra-caladea dancingscript "
    "dejavu-core dkg-handwriting dosis dustin ebgaramond ecolier-court essays1743 eurofurence fanwood femkeklaver "
    "georgewilliams gfs-artemisia gfs-didot gfs-neohellenic gnutypewriter gotico-antiqua goudybookletter havana "
    "hermit humor-sans inconsolata isabella joscelyn jura karla kaushanscript klaudia-berenika kristi lato le-murmure "
    "league-spartan leckerli-one lemonada liberation lindenhill lobstertwo manrope monofur mononoki national-park "
    "ocr-a ocr-b okolaks oldstandard opendyslexic oxygen play povray prociono quattrocento quicksand radisnoir "
    "roadgeek routed-gothic rufscript seto sil-gentium sjfonts smiley-sans sora staypuft summersby tiresias "
    "tomsontalks tuffy uralic urw-base35 yanone-kaffeesatz"
)
PACKAGES = tuple(_PACKAGES.split())
"""Debian's packages of these fonts, less ``fonts-``."""

_TEST_WORDS = (
    "Accanthis Acid Acknowledge Baskervald Because Bumped Cardo Chancery Chintzy Circulate Classic Clear Conduit "
    "Corpulent Crackdown Dark Decrepit Dystorque Encapsulate Exaggerate Extraction GWMonospace Galapogos Gasping "
    "Granular Grudge Hamlet Hassle Humor Inertia It Jargon Jeopardize Kaushan Key Kickflip Klaudia Kurvature Lato "
    "Leckerli Lobster Lucid Mekanus Mincer Moronic Mysterons Not OCR OCRACondensed Old Pincers Quacksalver Quarterly "
    "Redundant Revert Romande Rotund Rough Sans Simpleton Sora Spacious Summersby Symmetry Syndrome TRAGIC Telephasic "
    "Tiresias Typesource Unanimous Underwhelmed Vantage Verana Weaver Wiggly Xtrusion Yielding Yoshi's Zelda Zenith "
    "Zirconia Zoidal unifur"
)
TEST_WORDS = frozenset(_TEST_WORDS.split())
"""First words of the families of PACKAGES that test, drawn once."""


def _contents(files: Files) -> Iterator[bytes]:
    """The font files of Debian packages or, where none came, of this system."""
    if files:
        for path in files.values():
            for _, content in sorted(read_members(path, r".*\.(ttf|otf|pfb|t1)")):
                yield content
    else:
        for name in sorted(findSystemFonts()):
            yield Path(name).read_bytes()


def _faces(contents: Iterable[bytes]) -> dict[str, bytes]:
    """One face a family, the plainest: the font file by the name of its family."""
    found: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    for content in contents:
        try:
            font = ImageFont.truetype(io.BytesIO(content), EM, layout_engine=ImageFont.Layout.BASIC)
            known = FT2Font(io.BytesIO(content)).get_charmap()
        except (OSError, RuntimeError, ValueError):
            continue  # not a font that FreeType knows
        family, style = font.getname()
        if family and family not in NO_LETTERS and all(ord(character) in known for character in CHARACTERS):
            found[family].append((style or "", content))
    plain = {style: place for place, style in enumerate(("Regular", "Roman", "Normal", "Book", "Medium", "Light"))}
    return {
        family: min(faces, key=lambda face: (plain.get(face[0], len(plain)), face[0]))[1]
        for family, faces in sorted(found.items())
    }


def _glyphs(face: bytes) -> list[Outline] | None:
    """The glyphs of CHARACTERS, None if one leaves no ink or too few differ."""
    font = ImageFont.truetype(io.BytesIO(face), EM, layout_engine=ImageFont.Layout.BASIC)
    glyphs = [glyph for character in CHARACTERS if (glyph := outline(font, character)) is not None]
    different = {glyph.ink.tobytes() for glyph in glyphs}
    return glyphs if len(glyphs) == len(CHARACTERS) and len(different) >= FEWEST_DIFFERENT else None


def _families(faces: dict[str, bytes], progress: Progress) -> dict[str, list[Outline]]:
    """The families that have all CHARACTERS, without those that repeat a family before them."""
    kept: dict[str, list[Outline]] = {}
    seen: list[Array] = []
    with progress("glyphs_latin: families", len(faces)) as advance:
        for family, face in faces.items():
            glyphs = _glyphs(face)
            advance(1)
            if glyphs is None:
                continue
            sheet = np.concatenate([render(glyph, Jitter()).ravel() for glyph in glyphs]).astype(np.float32)
            sheet -= sheet.mean()
            sheet /= np.linalg.norm(sheet)
            if all(float(one @ sheet) < SAME for one in seen):
                kept[family] = glyphs
                seen.append(sheet)
    return kept


def _drawn(family: str, glyphs: Iterable[Outline]) -> Array:
    """The glyphs of a family uint8 [62, 28, 28], each a little turned, stretched and moved as its name decides."""
    generator = np.random.default_rng(int(md5(family.encode(), usedforsecurity=False).hexdigest()[:8], 16))
    images = []
    for glyph in glyphs:
        angle, stretch, right, down, size = generator.uniform(-1, 1, 5)
        jitter = Jitter(
            angle=math.radians(6 * angle),
            stretch=1.08**stretch,
            size=(21 + 1.5 * size) / BOX,
            shift=(right, down),
            weight=0.3,
        )
        images.append(render(glyph, jitter))
    return np.stack(images)


def _test_words(words: Iterable[str], packaged: bool) -> frozenset[str]:
    """First words of the families that test: families with the same first word are cousins, and stay together."""
    if packaged:
        return TEST_WORDS
    different = sorted(set(words))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(different))
    return frozenset(different[place] for place in order[: round(TEST_SHARE * len(different))])


def _build(files: Files, progress: Progress) -> Products:
    families = _families(_faces(_contents(files)), progress)
    if not families:
        raise ValueError(f"glyphs_latin: no fonts found on this system; {BRINGS_MORE}")
    if len(families) < FEW:
        notice(f"glyphs_latin: {len(families)} font families found, 648 in Debian's packages; {BRINGS_MORE}")
    names = list(families)
    words = [name.split()[0] for name in names]
    test = _test_words(words, bool(files))
    classes = len(CHARACTERS)
    y = np.tile(np.arange(classes, dtype=np.int64), len(names))
    merged = [character for character in CHARACTERS if character not in MERGED]
    places = [merged.index(c if c in merged else c.upper()) for c in CHARACTERS]
    arrays = {
        "x": np.concatenate([_drawn(name, glyphs) for name, glyphs in families.items()]),
        "y": y,
        "class_names": np.array(list(CHARACTERS)),
        "group": np.repeat(np.arange(len(names), dtype=np.int64), classes),
        "group_names": np.array(names),
        "split": np.repeat(np.array([word in test for word in words], np.int8), classes),
        "y47": np.array(places, np.int64)[y],
        "class_names47": np.array(merged),
    }
    return {"glyphs_latin": arrays}


BRINGS_MORE = "apt-get install fonts-aenigma fonts-dustin fonts-urw-base35 brings more"

RECIPE = Recipe(
    summary="40,176 digits and letters of 648 font families, 28 × 28, split by family 522 / 126",
    licence="that of each Debian package: OFL, GPL with font exception, fonts-aenigma's own and others",
    citation="Debian's fonts-* packages and their authors",
    products=("glyphs_latin",),
    ways=(
        tuple(Download(f"fonts-{name}.deb", (f"apt:fonts-{name}",), optional=True) for name in PACKAGES),
        (),
    ),
    build=_build,
    built_with=("pillow", "matplotlib", "numpy"),
)
