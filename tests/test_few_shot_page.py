"""The page of learned starts: pairing by seed, own company, what is kept and what is refused."""

import json
from pathlib import Path

import pytest

from experiment.pages.few_shot_page import tables
from experiment.pages.few_shot_runs import Key, read_runs
from unsupervised_update_rules.commands import few_shot_page


def stored(
    folder: Path,
    rule: str,
    seed: int,
    accuracies: dict[str, list[float]],
    drawn: str = "same",
    source: str = "strokes.npz@test",
) -> Path:
    """A file as evaluate_few_shot writes it, of two tasks."""
    about = {"source": f"npz:a/{source}", "ways": 5, "shots": 1, "seed": seed, "drawn": f"{drawn}{seed}"}
    meta = {
        "rule_file": f"runs/{rule}_{seed}/rule.safetensors",
        "encoder": ["runs/code.safetensors"],
        "command": f"python x.py {rule}",
        "commit": "0123456789abcdef",
        "batch_norm": "batch",
        "machine": "Linux",
        "threads": 1,
    }
    per_task = [about | {"method": method, "accuracies": values} for method, values in accuracies.items()]
    path = folder / f"{rule}_{seed}{'_omniglot' if 'omniglot' in source else ''}.json"
    path.write_text(json.dumps({"meta": meta, "per_task": per_task}))
    return path


def test_learners_are_paired_by_task_over_all_seeds(tmp_path: Path) -> None:
    for seed, shift in ((0, 0.0), (1, 0.2)):
        shared = {"raw_nearest": [0.3, 0.5], "code_linear": [0.4, 0.6]}
        stored(tmp_path, "umtra", seed, {"rule": [0.5 + shift, 0.7], "scratch": [0.2, 0.2], **shared})
    stored(tmp_path, "oracle", 1, {"rule": [0.9, 0.9], "scratch": [0.1, 0.1], **shared})
    runs = read_runs(sorted(tmp_path.glob("*.json")))
    key = Key("npz:a/strokes.npz@test", 5, 1)
    assert runs.rules == ["oracle", "umtra"]
    assert runs.mean("umtra", key).value == pytest.approx((0.5 + 0.7 + 0.7 + 0.7) / 4)
    assert runs.lead("umtra", "scratch of umtra", key).value == pytest.approx((0.3 + 0.5 + 0.5 + 0.5) / 4)
    assert runs.lead("umtra", "embedding_linear", key).value == pytest.approx((0.1 + 0.1 + 0.3 + 0.1) / 4)
    assert runs.lead("oracle", "umtra", key).value == pytest.approx(0.2)  # on seed 1 alone
    assert runs.lead("oracle", "scratch of umtra", key) == pytest.approx((0.7, 0.0), abs=1e-9)
    assert runs.mean("nothing", key) is None


def test_the_page_keeps_its_introduction(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    stored(tmp_path, "umtra", 0, {"rule": [0.5, 0.7], "scratch": [0.2, 0.2]})
    argv = ["--results", str(tmp_path), "--page", str(page)]
    assert few_shot_page.main(argv) == 0
    page.write_text(page.read_text().replace("# Learning without labels", "# Mine"))
    assert few_shot_page.main(argv) == 0
    text = page.read_text()
    assert text.startswith("# Mine\n\n## Claims\n")
    assert text.count("## Claims") == text.count("## Accuracy") == text.count("do not edit") == 1
    assert "| learner | accuracy | tasks | + its scratch |" in text
    assert "| `umtra` | 60.0 ± 127.1 | 2 | +40.0 ± 127.1 |" in text  # t(0.975, 1) = 12.706 times 0.1


def test_relatives_are_set_against_each_other(tmp_path: Path) -> None:
    for rule, first in (("umtra", 0.5), ("umtra_identity", 0.2), ("oracle_maml", 0.9)):
        stored(tmp_path, rule, 0, {"rule": [first, first]})
    text = tables(read_runs(sorted(tmp_path.glob("*.json"))))
    assert "| `umtra` over `umtra_identity` | +30.0 ± 0.0 |" in text
    assert "`oracle_maml` over" not in text


def test_claims_are_told_by_what_is_stored(tmp_path: Path) -> None:
    stored(tmp_path, "aal_maml", 0, {"rule": [0.5, 0.7], "scratch": [0.4, 0.6]})
    text = tables(read_runs(sorted(tmp_path.glob("*.json"))))
    assert "| AAL | `aal_maml` | its scratch | +10.0 ± 0.0 (2) |  |" in text
    stored(tmp_path, "aal_maml_plain", 0, {"rule": [0.3, 0.5]})
    text = tables(read_runs(sorted(tmp_path.glob("*.json"))))
    assert "|  | `aal_maml` | `aal_maml_plain` | +20.0 ± 0.0 (2) |  |" in text
    assert "UMTRA | " not in text.partition("## Accuracy")[0]
    stored(tmp_path, "aal_maml", 0, {"rule": [0.6, 0.8], "scratch": [0.4, 0.6]}, source="omniglot_small.npz")
    text = tables(read_runs(sorted(tmp_path.glob("*.json"))))
    assert "| strokes@test 1-shot | strokes@test 5-shot | omniglot_small 1-shot | omniglot_small 5-shot |" in text
    assert "| AAL | `aal_maml` | its scratch | +10.0 ± 0.0 (2) |  | +20.0 ± 0.0 (2) |  |" in text


def test_every_file_is_named_with_its_command(tmp_path: Path) -> None:
    stored(tmp_path, "umtra", 0, {"rule": [0.5, 0.7]})
    text = tables(read_runs(sorted(tmp_path.glob("*.json"))))
    assert "| umtra_0.json | `python x.py umtra` | 0123456789 | batch | Linux, 1 thread |" in text


def test_other_tasks_and_other_files_are_refused(tmp_path: Path) -> None:
    stored(tmp_path, "umtra", 0, {"rule": [0.5, 0.7]})
    stored(tmp_path, "oracle", 0, {"rule": [0.5, 0.7]}, drawn="other")
    with pytest.raises(ValueError, match=r"umtra_0.json: other tasks than in other files, seed 0"):
        read_runs(sorted(tmp_path.glob("*.json")))
    stored(tmp_path, "oracle", 0, {"rule": [0.5, 0.7]})
    (tmp_path / "oracle_0.json").rename(tmp_path / "oracle_9.json")  # another training, judged on the same tasks
    stored(tmp_path, "oracle", 0, {"rule": [0.5, 0.8]})
    with pytest.raises(ValueError, match=r"oracle_9.json: another file has 'oracle' on tasks of seed 0 too"):
        read_runs(sorted(tmp_path.glob("*.json")))
    (tmp_path / "oracle_9.json").write_text((tmp_path / "umtra_0.json").read_text().replace("code.", "codes."))
    with pytest.raises(ValueError, match=r"umtra_0.json: got the encoders code, codes, expected one in all files"):
        read_runs(sorted(tmp_path.glob("*.json"))[1:])
    (tmp_path / "oracle_9.json").unlink()
    whole = (tmp_path / "oracle_0.json").read_text()
    (tmp_path / "oracle_0.json").write_text(whole.replace('"commit"', '"commits"'))
    with pytest.raises(ValueError, match=r"oracle_0.json: no results .* \(KeyError: 'commit'\)"):
        read_runs([tmp_path / "oracle_0.json"])
    (tmp_path / "oracle_0.json").write_text("[]")
    with pytest.raises(ValueError, match=r"oracle_0.json: no results of scripts/evaluate_few_shot.py"):
        few_shot_page.main(["--results", str(tmp_path), "--page", str(tmp_path / "page.md")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no JSON files"):
        few_shot_page.main(["--results", str(tmp_path / "empty"), "--page", str(tmp_path / "page.md")])
