"""What documents promise: numbers are those of the claims, links lead somewhere, pages are short, blocks run."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from prose import Limits, prose, too_long

from common.yaml_dialect import parse_yaml
from experiment.report.cells import TABLE, cell, documents, filled, spelt_out
from experiment.report.claims import Claim, read_claims

ROOT = Path(__file__).parent.parent
CLAIMS = {claim["id"]: claim for claim in read_claims(ROOT / "results" / "claims.yaml")}
IGNORED = {"build", "runs", "wandb"}
"""Folders that .gitignore names, beside hidden ones."""
PAGES = sorted(
    page
    for part in ROOT.iterdir()
    if not part.name.startswith(".") and part.name not in IGNORED
    for page in (part.rglob("*.md") if part.is_dir() else [part])
    if page.suffix == ".md"
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


LIMITS = {
    "README.md": Limits(130, sentence=25),
    "CONTRIBUTING.md": Limits(80),
    "pretrained/": Limits(60),
    "docs/guide/": Limits(120, sentence=25),
    "docs/results/": Limits(150, sentence=25),
    "": Limits(),
}
"""The first that a name begins with holds."""
UNLIMITED = ("CHANGELOG.md", "docs/log/", "docs/reference/")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_and_their_sentences_are_short(page: Path) -> None:
    name = name_of(page)
    if not name.startswith(UNLIMITED):
        limits = next(limits for start, limits in LIMITS.items() if name.startswith(start))
        assert not (found := too_long(page.read_text(encoding="utf-8"), limits)), "\n".join([name, *found])


def test_what_is_too_long_is_told() -> None:
    text = "# A heading of very many words indeed\n\n- One two.\n- Three, [four](of/five) six!\n\n| a b | c d e f |\n\n"
    text += "```\na b c d e f\n```\n\n<!-- a b c d e -->\nSeven eight: nine ten.\n"
    assert prose(text) == ["One two.", "Three, four six!", "Seven eight: nine ten."]
    assert too_long(text, Limits(20, 4, 3)) == []
    assert too_long(text, Limits(12, 3, 2)) == [
        "13 lines",
        "sentence of 3 words: Three, four six!",
        "paragraph of 4 words: Seven eight: nine ten.",
    ]


@pytest.mark.parametrize("page", documents(ROOT), ids=name_of)
def test_measured_numbers_are_those_of_the_claims_and_stand_in_tables(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert filled(text, CLAIMS, page.name) == text, "`make pages` fills them in"
    assert len(re.findall("^<!-- claims:", text, re.MULTILINE)) == len(TABLE.findall(text)), "claims without a table"
    rest = re.sub(r"^ *```.*?^ *```$", "", TABLE.sub("", text), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r".*\d ± \d.*", rest)
    assert not found, "\n".join([f"{page.name}: no claims for these (see experiment/report/cells.py)", *found])


def test_cells_are_filled_in_from_claims() -> None:
    claims: dict[str, Claim] = {
        "a-1": {"value": 82.25, "low": 81.75, "high": 82.75, "unit": "percent"},
        "a-2": {"value": -0.04, "low": -0.35, "high": 0.27, "unit": "points"},
        "b-1": {"value": 3.0, "low": None, "high": None, "unit": "points"},
    }
    assert [cell(claim) for claim in claims.values()] == ["82.3 ± 0.5", "-0.0 ± 0.3", "+3.0"]
    assert spelt_out("a-{1,2} b-1 {c,d}-{1,2}") == ["a-1", "a-2", "b-1", "c-1", "c-2", "d-1", "d-2"]
    head = "| of | 10 | lead |\n| --- | ---: | ---: |\n"
    text = (
        f"Before.\n\n<!-- claims: a-{{1,2}}\n  b-1 -->\n{head}| 2.0.1 | 82.2 ± 0.5 | ? |\n| b |  | ? |\n\n| 1.0 | ? |\n"
    )
    whole = f"{head}| 2.0.1 | 82.3 ± 0.5 | -0.0 ± 0.3 |\n| b |  | +3.0 |\n\n| 1.0 | ? |\n"
    assert filled(text, claims, "x.md") == text.partition(head)[0] + whole
    assert filled(filled(text, claims, "x.md"), claims, "x.md") == filled(text, claims, "x.md")
    with pytest.raises(ValueError, match=r"x.md: got 3 numbers and 2 claims in the table of a-\{1,2\} $"):
        filled(text.replace("\n  b-1", ""), claims, "x.md")
    with pytest.raises(ValueError, match=r"x.md: got claims c, expected ids of results/claims.yaml"):
        filled(text.replace("\n  b-1", " c"), claims, "x.md")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link, anchor in re.findall(r"\]\((?!https?:|#)([^)#\s]+)(#[^)]*)?\)", text):
        target = page.parent / link
        assert target.exists(), f"{name_of(page)}: {link}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor[1:] in slugs, f"{name_of(page)}: {link}{anchor}"


@pytest.mark.parametrize("card", sorted((ROOT / "pretrained").glob("*.md")), ids=name_of)
def test_every_card_applies_its_rule(card: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), flags=re.DOTALL)
    space: dict[str, Any] = {}
    exec(compile(code, card.name, "exec"), space)
    assert f'"{card.stem}"' in code
    if "features" in space:
        assert space["features"].shape == (1797, 32)
    else:  # a rule that clusters: iris, told that there are three kinds
        assert set(space["labels"].tolist()) == {0, 1, 2}


def test_every_shipped_rule_has_a_card() -> None:
    rules, cards = ({path.stem for path in (ROOT / "pretrained").glob(f"*.{end}")} for end in ("safetensors", "md"))
    assert rules == cards


def test_pre_commit_runs_what_make_lint_runs() -> None:
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    repositories = read_yaml(".pre-commit-config.yaml")["repos"]
    hooks = [hook["entry"] for repository in repositories for hook in repository["hooks"]]
    assert hooks == [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]


def test_the_citation_is_of_this_version() -> None:
    citation = read_yaml("CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["cff-version"] == "1.2.0"
    assert citation.keys() >= {"message", "title", "abstract", "authors"}
    assert [one["url"] for one in citation["references"]] == ["https://arxiv.org/abs/1804.00222"]


def read_yaml(name: str) -> Any:
    return parse_yaml((ROOT / name).read_text(encoding="utf-8"), name)
