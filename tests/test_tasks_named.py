"""Data sets by name: where they are looked for, what of them is taken, and what a missing one says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from common.notice import Notice
from outer_loop.config.file import load_config
from tasks.data.recipes.registry import recipe_that_brings
from tasks.data.sources import BUILT_IN, MADE, load_source
from tasks.dataset import Dataset, with_enough
from unsupervised_update_rules.commands import one_shot_runs

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a data set into a folder beside ``data/``; ``mine`` is that of the environment variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UPDATE_RULES_DATA", raising=False)

    def written(folder: str, name: str, count: int, **more: object) -> None:
        (tmp_path / folder).mkdir(exist_ok=True)
        x = np.zeros((count, 4, 4), np.uint8)
        np.savez(tmp_path / folder / f"{name}.npz", x=x, y=np.arange(count) % 2, **more)
        if folder == "mine":
            monkeypatch.setenv("UPDATE_RULES_DATA", str(tmp_path / folder))

    return written


def test_the_folder_of_the_variable_comes_first(put: Callable[..., None]) -> None:
    put("data", "strokes", 4, split=np.array([0, 0, 1, 2], np.int8))
    put("data", "my-own", 6)
    assert [len(load_source(name)[0]) for name in ("strokes", "strokes@train", "my-own")] == [4, 2, 6]
    put("mine", "strokes", 8)
    (strokes,) = load_source("strokes")
    assert (strokes.name, len(strokes), len(load_source("my-own")[0])) == ("strokes", 8, 6)


def test_a_missing_data_set_says_what_brings_it(put: Callable[..., None]) -> None:
    for source, recipe in {"strokes@test": "strokes", "omniglot_oneshot": "omniglot"}.items():
        name = source.partition("@")[0]
        message = (
            f"^no data set '{name}' in data/ or \\$UPDATE_RULES_DATA; python scripts/get_data.py {recipe} brings it$"
        )
        with pytest.raises(FileNotFoundError, match=message):
            load_source(source)
    with pytest.raises(ValueError, match=r"unknown source 'stroke', expected .*; did you mean strokes\?"):
        load_source("stroke")
    with pytest.raises(ValueError, match=r"unknown source 'tabular', .*NAME of data/NAME\.npz"):
        load_source("tabular")
    with pytest.raises(ValueError, match=r"unknown source '\.\./data/strokes'"):
        load_source("../data/strokes")


def test_a_data_set_taken_apart_by_an_array(put: Callable[..., None], tmp_path: Path) -> None:
    alphabet, split = np.array([3, 3, 3, 5, 5, 5, 5, 9]), np.array([0, 0, 1, 0, 0, 1, 1, 1])
    put("data", "signs", 8, alphabet=alphabet, alphabet_names=np.array([*"abcdefghij"]), split=split, place=split * 0.5)
    names = [(one.name, len(one)) for one in load_source("signs#alphabet")]
    assert names == [("signs#d", 3), ("signs#f", 4), ("signs#j", 1)]
    for source in ("signs#alphabet@train", f"npz:{tmp_path}/data/signs.npz#alphabet@train"):
        found = load_source(source)
        assert [len(one) for one in found] == [2, 2]
        assert all(one.name.endswith(f"#{name}@train") for one, name in zip(found, "df", strict=True))
    put("data", "unsplit", 9, part=np.repeat(np.arange(3), 3))
    parts = [load_source(f"unsplit#part@{part}")[0].name for part in ("train", "valid", "test")]
    assert sorted(name.partition("@")[0] for name in parts) == ["unsplit#0", "unsplit#1", "unsplit#2"]
    put("data", "short", 8, alphabet=alphabet, alphabet_names=np.array([*"ab"]))
    for source, message in (
        ("signs#font", "no array 'font'"),
        ("signs#place", r"array 'place' is float64 \[8\], expected one whole number or text for each example"),
        ("signs#alphabet_names", r"array 'alphabet_names' is <U1 \[10\], expected one"),
        ("short#alphabet", "short#alphabet: y runs from 3 to 9, expected 0 to 1 for 2 class names"),
        ("sings#alphabet", "unknown source 'sings#alphabet'"),
    ):
        with pytest.raises(ValueError, match=message):
            load_source(source)


def test_data_sets_with_too_few_classes_are_left_out() -> None:
    x, y = torch.zeros(6, 2), torch.tensor([0, 0, 1, 1, 2, 2])
    large, small = Dataset("large", x, y, None, tuple("abc")), Dataset("small", x[:4], y[:4], None, tuple("ab"))
    with pytest.warns(Notice, match="large and so on: left out 1 of 2 data sets, which lack 3 classes of 2 examples"):
        assert with_enough([large, small], 3, 2) == [large]
    assert with_enough([small], 3, 2) == [small]  # whose own message says more
    with pytest.raises(ValueError, match="large and 1 more: none has 4 classes of 2 examples"):
        with_enough([large, small], 4, 2)


def test_official_parts_are_omniglots_alone(put: Callable[..., None]) -> None:
    put("data", "omniglot", 4, background=np.array([True, True, True, False]), split=np.array([0, 1, 2, 2], np.int8))
    assert [len(load_source(f"omniglot@{part}")[0]) for part in ("background", "evaluation", "test")] == [3, 1, 2]
    put("data", "mnist", 4)
    with pytest.raises(ValueError, match="mnist: no part 'background', which the data set omniglot alone has"):
        load_source("mnist@background")
    with pytest.raises(ValueError, match="digits: no part 'evaluation', which the data set omniglot alone has"):
        load_source("digits@evaluation")


def test_the_one_shot_runs_are_found_by_name(put: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python scripts/get_data.py omniglot brings it"):
        one_shot_runs.main([])
    put("data", "omniglot_oneshot", 2)
    assert one_shot_runs.runs_file("omniglot_oneshot") == Path("data/omniglot_oneshot.npz")
    assert one_shot_runs.runs_file("runs.npz") == Path("runs.npz")


@pytest.mark.parametrize("path", [path for path in CONFIGS if path.stem != "sweep"], ids=lambda path: path.stem)
def test_a_config_begins_with_the_commands_that_bring_its_data_and_run_it(path: Path) -> None:
    config = load_config(path)
    evaluation = (*config.evaluation.sources, *(config.evaluation.training or ()))
    sources = {*config.tasks.sources, *evaluation, *config.report.sources}
    names = {source.partition("@")[0] for source in sources if source.partition(":")[0] not in MADE}
    recipes = {name: recipe_that_brings(name) for name in names - set(BUILT_IN)}
    assert None not in recipes.values(), f"{path.name}: {recipes}, of which no recipe brings some"
    text = path.read_text(encoding="utf-8")
    assert ".." not in text
    lines = text.splitlines()
    if recipes:
        assert lines[0].startswith("# python scripts/get_data.py ")
        assert sorted(lines.pop(0).split()[3:]) == sorted(filter(None, set(recipes.values())))
    commands = [line for line in lines if "python scripts/meta_train.py --config" in line]
    assert lines[: len(commands)] == commands
    assert f"configs/{path.name}" in commands[-1]
