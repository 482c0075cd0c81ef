"""``omniglot``: handwritten characters of 50 alphabets (Lake et al., 2015), and the official one-shot runs."""

import io
import re

import numpy as np
from PIL import Image

from tasks.data.raw import Array
from tasks.data.recipes.archives import read_members
from tasks.data.recipes.contract import Download, Files, Products, Progress, Recipe

SIDE = 28
BACKGROUND, EVALUATION, RUNS = "images_background.zip", "images_evaluation.zip", "all_runs.zip"
BASE = "https://raw.githubusercontent.com/brendenlake/omniglot/master/python/"

VALID_ALPHABETS = ("Armenian", "Bengali", "Early_Aramaic", "Hebrew", "Mkhedruli_(Georgian)")
"""The validation part of Vinyals et al. (2016), as given by those who published it."""
FIRST_TEST_CHARACTER = 1201
"""The official number at which their test part begins, within Gurmukhi."""

DRAWING = r"(?:.*/)?([^/]+)/(character\d\d)/(\d{4})_(\d\d)\.png"
RUN = r"(?:.*/)?run(\d\d)/(training|test)/(?:class|item)(\d\d)\.png"
LABELS = r"(?:.*/)?run(\d\d)/class_labels\.txt"


def _reduced(png: bytes) -> Array:
    """A drawing as uint8 [28, 28]: ink 255, paper 0, averaged."""
    with Image.open(io.BytesIO(png)) as image:
        ink = Image.fromarray(np.where(np.asarray(image.convert("L")) < 128, 255, 0).astype(np.uint8))
    return np.asarray(ink.resize((SIDE, SIDE), Image.Resampling.BOX))


def _characters(files: Files) -> dict[str, Array]:
    """Every drawing, by the official number of its character and the number of its drawer."""
    found = []
    for part in (BACKGROUND, EVALUATION):
        for name, png in read_members(files[part], DRAWING):
            match = re.fullmatch(DRAWING, name)
            assert match is not None
            alphabet, character, number, drawer = match.groups()
            found.append((int(number), int(drawer), alphabet, character, part == BACKGROUND, _reduced(png)))
    if not found:
        raise ValueError(f"{files[BACKGROUND]}: no ALPHABET/characterNN/NNNN_NN.png, expected the official archives")
    found.sort(key=lambda one: one[:2])
    numbers = np.array([one[0] for one in found])
    alphabets = list(dict.fromkeys(one[2] for one in found))
    valid = np.isin([one[2] for one in found], VALID_ALPHABETS)
    codes = np.unique(numbers, return_inverse=True)[1].astype(np.int64)
    return {
        "x": np.stack([one[5] for one in found]),
        "y": codes,
        "class_names": np.array(list(dict.fromkeys(f"{one[2]}/{one[3]}" for one in found))),
        "group": np.array([one[1] - 1 for one in found], np.int64),
        "alphabet": np.array([alphabets.index(one[2]) for one in found], np.int64),
        "alphabet_names": np.array(alphabets),
        "split": np.where(numbers >= FIRST_TEST_CHARACTER, 2, valid).astype(np.int8),
        "background": np.array([one[4] for one in found]),
    }


def _runs(files: Files, evaluation: Array) -> dict[str, Array]:
    """The runs, whose images must all be among ``evaluation`` [n, 28, 28], from which their authors took them."""
    images: dict[tuple[str, str], dict[int, Array]] = {}
    for name, png in read_members(files[RUNS], RUN):
        match = re.fullmatch(RUN, name)
        assert match is not None
        run, part, number = match.groups()
        images.setdefault((run, part), {})[int(number)] = _reduced(png)
    runs = sorted({run for run, _ in images})
    train, test = (
        np.stack([np.stack([one for _, one in sorted(images[run, part].items())]) for run in runs])
        for part in ("training", "test")
    )
    known = {one.tobytes() for one in evaluation}
    if not all(one.tobytes() in known for one in np.concatenate([*train, *test])):
        raise ValueError(f"{files[RUNS]}: an image that the evaluation part has not, expected the official runs")
    answers = {}
    for name, text in read_members(files[RUNS], LABELS):
        pairs = sorted(line.split() for line in text.decode().splitlines() if line.strip())
        answers[name.split("/")[-2]] = [int(re.findall(r"\d+", trained)[-1]) - 1 for _, trained in pairs]
    answer = np.array([answers[f"run{run}"] for run in runs], np.int64)
    return {"train": train, "test": test, "answer": answer}


def _build(files: Files, progress: Progress) -> Products:
    characters = _characters(files)
    return {
        "omniglot": characters,
        "omniglot_oneshot": _runs(files, characters["x"][~characters["background"]]),
    }


RECIPE = Recipe(
    summary="32,460 drawings of 1,623 characters, 28 × 28, official parts and Vinyals' split; and the one-shot runs",
    licence="MIT",
    citation="Lake, Salakhutdinov and Tenenbaum: Human-level concept learning through probabilistic program induction, "
    "2015",
    products=("omniglot", "omniglot_oneshot"),
    ways=(
        (
            Download(BACKGROUND, (BASE + BACKGROUND,), "md5:68d2efa1b9178cc56df9314c21c6e718"),
            Download(EVALUATION, (BASE + EVALUATION,), "md5:6b91aef0f799c5bb55b94e3f2daec811"),
            Download(RUNS, (f"{BASE}one-shot-classification/{RUNS}",)),
        ),
    ),
    build=_build,
    built_with=("pillow",),
)
