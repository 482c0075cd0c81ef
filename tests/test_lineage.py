"""Nothing is judged on classes that what it started from has seen, whichever seed split them."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs import Arguments

from evaluation.lineage import lineage, lineage_of, seeds_of
from tasks.data.sources import place_of
from unsupervised_update_rules.commands import evaluate, meta_train, train_encoder
from update_rules.rule_file import read_header


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Images of thirty classes without a split of their own."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (300, 8, 8), dtype=np.uint8), np.arange(300) % 30
    np.savez(tmp_path / "images.npz", x=x, y=y)
    return f"npz:{tmp_path / 'images.npz'}"


def test_an_encoder_of_another_split_is_not_judged_on_its_classes(source: str, tmp_path: Path) -> None:
    made = str(tmp_path / "code.safetensors")
    arguments = [
        "--data",
        f"{source}@train",
        "--size",
        "8",
        "--steps",
        "2",
        "--code",
        "4",
        "--seed",
        "1",
        "--out",
        made,
    ]
    assert train_encoder.main(arguments) == 0
    assert lineage(made) == ((place_of(source), 1),)
    judged = [
        "--data",
        f"{source}@test",
        "--size",
        "8",
        "--tasks",
        "2",
        "--shots",
        "1",
        "--queries",
        "2",
        "--ways",
        "3",
    ]
    found = tmp_path / "found.json"
    assert evaluate.main([*judged, "--baselines", "none", "--encoder", made, "--json", str(found)]) == 0
    assert json.loads(found.read_text())["meta"]["split_seed"] == 1  # as it was split for the encoder
    assert evaluate.main([*judged, "--baselines", "raw"]) == 0


def test_a_run_that_starts_from_another_split_is_refused_and_its_rule_tells(
    source: str, tiny_config: Arguments, tmp_path: Path
) -> None:
    data = (f"tasks.sources=[{source}@train]", f"evaluation.sources=[{source}@valid]", "evaluation.training=[]")
    data = (*data, "tasks.queries=2", "tasks.shots=2", "evaluation.shots=[2]", "rule=hebbian", "outer_steps=1")
    assert meta_train.main(tiny_config("first", *data)) == 0
    first = tmp_path / "first" / "rule_last.safetensors"
    assert lineage(first) == ((place_of(source), 3),)
    start = f"rule.pretrained={first}"
    with pytest.raises(ValueError, match=r"was trained on other parts of it, by seed 3; set seed=3 or take data"):
        meta_train.main(tiny_config("other", *data, start, "seed=4"))
    assert not (tmp_path / "other").exists()
    assert meta_train.main(tiny_config("same", *data, start)) == 0
    elsewhere = ("tasks.sources=[digits]", "evaluation.sources=[digits]", "seed=4")
    assert meta_train.main(tiny_config("elsewhere", *data, start, *elsewhere)) == 0
    rule = tmp_path / "elsewhere" / "rule_last.safetensors"
    assert json.loads(read_header(rule).provenance["lineage"]) == [["digits", 4], [place_of(source), 3]]
    first.unlink()
    assert meta_train.main([*tiny_config("elsewhere", *data, start, *elsewhere), "outer_steps=2", "--resume"]) == 0
    assert lineage(rule) == (("digits", 4), (place_of(source), 3))  # though the file is gone
    judged = ["--rule", str(rule), "--size", "4", "--tasks", "2", "--shots", "1", "--queries", "2", "--ways", "3"]
    judged = [*judged, "--baselines", "none", "--data"]
    with pytest.raises(ValueError, match=r"rules or encoders of training seeds 4, 3 were trained on other parts of it"):
        evaluate.main([*judged, f"{source}@test"])
    assert evaluate.main([*judged, "digits@test", "--ways", "2"]) == 0


def test_a_place_is_the_same_for_all_parts_and_spellings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a@b").mkdir()
    np.savez(tmp_path / "a@b" / "images.npz", x=np.zeros((2, 4, 4)), family=np.arange(2))
    monkeypatch.chdir(tmp_path)
    spelt = ("npz:a@b/images.npz@train", "npz:./a@b/images.npz", f"npz:{tmp_path}/a@b/images.npz#family@test")
    assert {place_of(one) for one in spelt} == {"a@b/images"}
    assert {place_of(one) for one in ("digits@train", "digits#y@test", "digits")} == {"digits"}
    assert place_of("sklearn:wine@test") == "sklearn:wine"
    monkeypatch.delenv("UPDATE_RULES_DATA", raising=False)
    assert place_of("glyphs_latin@train") == "glyphs_latin"  # which is not there
    assert seeds_of("digits@test", [("digits", 1), ("mnist", 2), ("digits", 1), ("digits", 0)]) == [1, 0]


@pytest.mark.parametrize("header", [{"sources": "digits", "seed": "0"}, {"source": "x"}, {"lineage": "[1]"}, {}])
def test_a_header_that_says_something_else_has_no_lineage(header: dict[str, str]) -> None:
    assert lineage_of(header) == ()
