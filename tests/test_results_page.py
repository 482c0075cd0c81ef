"""The page of results: pairing over files, refusals, sections, and the script end to end."""

import json
import re
from pathlib import Path

import pytest

from experiment.pages.stored_results import Place, read_stored, rule_label, untrained_name
from unsupervised_update_rules.commands import evaluate, results_page
from update_rules.local.hebbian import Hebbian
from update_rules.rule_file import save_rule

SIZES = {"tasks": 3, "steps": 2, "hidden": 6, "outputs": 4, "batch": 8, "size": 5, "queries": 2}
SMALL = [word for name, size in SIZES.items() for word in (f"--{name}", str(size))]
PLACE = Place("digits", 10, 10, 2, 5, True, "identity", 4, "ridge", "", None)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of a rule and of baselines, evaluated apart, of two sweeps and of a table."""
    folder = tmp_path_factory.mktemp("results")
    rule = folder / "mine.safetensors"
    save_rule(rule, Hebbian(), {"seed": 0})
    by_name = {
        "baselines": ["--baselines", "raw", "pca", "random_network", "--shots", "1", "10", "--seeds", "0", "1"],
        "readouts": ["--baselines", "raw", "--readout", "prototype"],
        "rule": ["--rule", str(rule), "--baselines", "untrained_rule", "random_network", "--shots", "1", "10"],
        "steps": ["--rule", str(rule), "--baselines", "random_network", "--sweep", "steps", "--values", "0.5", "2"],
        "steps_between": ["--rule", str(rule), "--baselines", "none", "--sweep", "steps", "--values", "1"],
        "activation": ["--rule", str(rule), "--baselines", "none", "--sweep", "activation", "--values", "tanh", "relu"],
        "wine": ["--data", "sklearn:wine", "--ways", "3", "--baselines", "raw", "pca"],
    }
    for name, words in by_name.items():
        data = [] if "--data" in words else ["--data", "digits"]
        assert evaluate.main([*data, *SMALL, *words, "--json", str(folder / f"{name}.json")]) == 0
    ablation = {
        "name": "no errors",
        "overrides": ["rule.errors=0"],
        "command": "python x.py",
        "accuracy": {"digits": 0.5},
    }
    whole = ablation | {"name": "mine, whole", "overrides": [], "command": "python y.py", "change": {"digits": [0, 0]}}
    part = whole | {"name": "mine, without hebb", "change": {"digits": [-0.25, 0.125]}}
    (folder / "ablations.json").write_text(json.dumps({"ablations": [ablation, whole, part]}))
    return folder


def test_a_rule_is_paired_with_what_was_evaluated_elsewhere(results: Path) -> None:
    stored = read_stored(sorted(results.glob("*.json")))
    assert stored.rules == ["mine"]
    assert stored.methods[:2] == ["mine", untrained_name("mine")]
    found = {name: json.loads((results / f"{name}.json").read_text()) for name in ("rule", "baselines")}

    def accuracies(name: str, method: str) -> list[float]:
        wanted = {"method": method, "seed": 0, "shots": 10}
        (one,) = (o for o in found[name]["per_task"] if all(o[key] == value for key, value in wanted.items()))
        return one["accuracies"]

    expected = sum(accuracies("rule", "rule")) / 3 - sum(accuracies("baselines", "raw")) / 3
    lead = stored.lead("mine", "raw", PLACE)
    assert lead is not None
    assert (lead.mean.value, lead.tasks) == (pytest.approx(expected), 3)  # one seed in common
    assert len(stored.accuracies("raw", PLACE)) == 2
    assert accuracies("rule", "random_network") == accuracies("baselines", "random_network")
    steps = PLACE._replace(sweep="steps", value=4)
    assert stored.accuracies("random_network", steps) == stored.accuracies("random_network", steps._replace(value=1))
    assert stored.lead("mine", "pca", steps) is None
    assert [place.value for place in stored.places("steps") if ("mine", place) in stored.found] == [0, 1, 2, 4]
    assert [place.value for place in stored.places("activation")] == ["tanh", "relu"]


def test_the_page_has_every_section_and_the_figures_it_shows(results: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    argv = ["--results", str(results), "--page", str(page), "--rules", str(results / "mine.safetensors")]
    assert results_page.main([*argv, "--size", "5", "--steps", "2", "--title", "Results of mine"]) == 0
    text = page.read_text()
    assert text.startswith("# Results of mine\n")
    heads = re.findall("^## (.*)$", text, flags=re.MULTILINE)
    assert heads == [
        *("Few-shot accuracy", "Text and tables", "Against labels", "Other readouts", "Activation", "Steps"),
        *("Receptive fields", "Where the rules lose", "What the hebbian rule learned", "What matters"),
        "How it was made",
    ]
    for shown in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (tmp_path / shown).read_bytes().startswith(b"\x89PNG")
    assert text.count("](results/") == 5
    assert "| mine, without hebb | 50.0 (-25.0 ± 12.5) |" in text
    assert "(results/ablations_2.png)" in text  # of the first study no change was stored
    assert "| compete | +1.00 | +1.00 | towards inputs that the unit answers more than the others do" in text
    assert "| no errors | rule.errors=0 | 50.0 |" in text
    assert "\n\n`python x.py`" in text
    assert "decorrelate" in text
    assert "| wine, 3 ways, 10 shots |" in text
    assert "| method | digits, 1 | digits, 10 |" in text
    assert "| method | digits, prototype | digits, ridge |" in text
    assert "`python scripts/evaluate.py --data digits --tasks 3" in text
    for line in text.splitlines():
        assert line.count("|") == 0 or line.startswith("| ")


def test_a_rule_that_was_never_trained_is_compared_with(results: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    save_rule(start, Hebbian(rate=0.2), {})
    (tmp_path / "rule.json").write_bytes((results / "rule.json").read_bytes())
    argv = ["--rule", str(start), "--data", "digits", *SMALL, "--baselines", "none", "--json"]
    assert evaluate.main([*argv, str(tmp_path / "start.json")]) == 0
    stored = read_stored(sorted(tmp_path.glob("*.json")))
    assert (stored.rules, stored.starts) == (["mine"], ["start"])
    assert ("mine", "start") in {(lead.method, lead.other) for lead in stored.leads()}
    page = tmp_path / "page.md"
    assert results_page.main(["--results", str(tmp_path), "--page", str(page), "--rules"]) == 0
    text = page.read_text()
    assert "| mine is ahead of |" in text
    assert "| start is ahead of |" not in text
    assert "`start`, whose file tells of none" in text
    assert "`start` after 2 inner steps" in text


def test_redrawn_images_are_another_place(tmp_path: Path) -> None:
    argv = ["--data", "digits", *SMALL, "--baselines", "raw"]
    for seed, redraw in (("0", "identity"), ("1", "zero_pixels=0.9")):
        json_file = str(tmp_path / f"{redraw[:4]}.json")
        assert evaluate.main([*argv, "--seeds", seed, "--redraw", redraw, "--json", json_file]) == 0
    stored = read_stored(sorted(tmp_path.glob("*.json")))
    assert sorted(place.redraw for place in stored.places()) == ["identity", "zero_pixels=0.9"]
    assert results_page.main(["--results", str(tmp_path), "--page", str(tmp_path / "page.md"), "--rules"]) == 0


def test_methods_with_other_networks_are_paired_from_beside(results: Path, tmp_path: Path) -> None:
    rule, page = tmp_path / "mine.safetensors", tmp_path / "page.md"
    rule.write_bytes((results / "mine.safetensors").read_bytes())
    argv = ["--results", str(tmp_path), "--page", str(page), "--rules", "--beside", str(results)]
    evaluated = ["--rule", str(rule), "--data", "digits", *SMALL, "--baselines", "none", "--json"]
    assert evaluate.main([*evaluated, str(tmp_path / "wide.json"), "--hidden", "9"]) == 0
    assert results_page.main(argv) == 0
    (section,) = re.findall("## Against other networks\n(.*?)\n## ", page.read_text(), flags=re.DOTALL)
    (line,) = re.findall(r"\| pca \|(.*)\|", section)
    wide, beside = (read_stored(sorted(folder.glob("*.json"))) for folder in (tmp_path, results))
    mine, theirs = wide.accuracies("mine", PLACE)[0], beside.accuracies("pca", PLACE)[0]
    assert line.split()[0] == f"{100 * (sum(mine) - sum(theirs)) / 3:+.1f}"
    content = json.loads((tmp_path / "wide.json").read_text())
    for one in content["per_task"]:
        one["drawn"] = "x"
    (tmp_path / "wide.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"and wide.json: other tasks of digits"):
        results_page.main(argv)


def test_parts_may_be_missing(results: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "readouts.json").write_bytes((results / "readouts.json").read_bytes())
    assert results_page.main(["--results", str(folder), "--page", str(tmp_path / "p.md"), "--rules"]) == 0
    assert re.findall("^## (.*)$", (tmp_path / "p.md").read_text(), flags=re.MULTILINE) == ["How it was made"]
    (folder / "baselines.json").write_bytes((results / "baselines.json").read_bytes())
    assert results_page.main(["--results", str(folder), "--page", str(tmp_path / "p.md"), "--rules"]) == 0
    assert "## Few-shot accuracy" in (tmp_path / "p.md").read_text()
    assert "ahead of" not in (tmp_path / "p.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.update(drawn="x"), r"b.json and a.json: other tasks of digits, 10 ways, 1 shots, seed 0"),
        (
            lambda one: one.update(accuracies=[0.0] * 3),
            r"b.json and a.json: other accuracies of random_network on digits",
        ),
    ],
)
def test_files_that_contradict_each_other_are_one_clear_line(
    results: Path, tmp_path: Path, change: object, message: str
) -> None:
    content = json.loads((results / "baselines.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content))
    change(content["per_task"][0])  # type: ignore[operator]
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as caught:
        read_stored(sorted(tmp_path.glob("*.json")))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("rule", {"batch": 9}, "b.json and a.json: mine on digits with batch 9 and 8"),
        ("baselines", {"hidden": [7]}, r"b.json and a.json: random_network on digits with hidden \[7\] and \[6\]"),
    ],
)
def test_seeds_of_other_settings_are_not_pooled(
    results: Path, tmp_path: Path, name: str, change: dict[str, object], message: str
) -> None:
    content = json.loads((results / f"{name}.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content))
    content["meta"] |= change
    for one in content["per_task"]:
        one["seed"] += 7
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_stored(sorted(tmp_path.glob("*.json")))


def test_a_rule_file_is_called_by_its_folder_and_no_two_alike(results: Path, tmp_path: Path) -> None:
    assert [rule_label(path) for path in ("runs/a/rule.safetensors", "b/mine.safetensors")] == ["a", "mine"]
    rule = str(results / "mine.safetensors")
    with pytest.raises(ValueError, match="expected files or folders of different names"):
        results_page.main(["--results", str(results), "--rules", rule, rule, "--page", str(tmp_path / "page.md")])


def test_other_files_and_empty_folders_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no JSON files"):
        results_page.main(["--results", str(tmp_path), "--page", str(tmp_path / "p.md")])
    for content in ("[1]", "{}", "{", '{"ablations": [{}]}'):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ValueError, match=r"x.json: neither results of scripts/evaluate.py nor ablations"):
            results_page.main(["--results", str(tmp_path), "--page", str(tmp_path / "p.md")])
