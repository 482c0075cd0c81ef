"""What a wheel holds and does, installed away from this checkout, and the facade's names."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import unsupervised_update_rules

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's contents and nothing else of ours."""
    folder = tmp_path_factory.mktemp("installed")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(installed: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(installed), "WANDB_MODE": "disabled"}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=folder, env=variables, check=False
    )


@pytest.mark.thorough
def test_the_wheel_holds_the_library_and_nothing_else(installed: Path) -> None:
    there = {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")}
    assert there == {*unsupervised_update_rules.PACKAGES, "unsupervised_update_rules"}
    assert (installed / "pretrained" / "hebbian_winners.safetensors").exists()
    assert (installed / "evaluation" / "baselines" / "settings.yaml").exists()
    assert all((installed / name / "py.typed").exists() for name in there - {"pretrained"})


@pytest.mark.thorough
def test_transformer_facade_and_commands_work_from_another_folder(installed: Path, tmp_path: Path) -> None:
    code = (
        "import numpy as np, unsupervised_update_rules as u\n"
        "assert u.__file__.startswith({site!r}), u.__file__\n"
        "print(u.RuleFeatures(steps=2, random_state=0).fit_transform(np.random.default_rng(0).random((30, 9))).shape)"
    )
    done = run(installed, tmp_path, "-c", code.format(site=str(installed)))
    assert (done.returncode, done.stdout) == (0, "(30, 32)\n"), done.stderr
    done = run(
        installed,
        tmp_path,
        *("-m", "unsupervised_update_rules", "evaluate", "--rule", "hebbian", "--data", "digits", "--tasks", "2"),
        *("--ways", "3", "--shots", "1", "--queries", "2", "--steps", "2", "--json", "found.json"),
    )
    assert done.returncode == 0, done.stderr
    assert "untrained_rule" in done.stdout
    assert (tmp_path / "found.json").exists()


def test_every_public_name_is_there_and_documented() -> None:
    for name in unsupervised_update_rules.__all__:
        found = getattr(unsupervised_update_rules, name)
        assert callable(found) or name == "State", name
        assert name in ("State", "StepViews") or found.__doc__, name
    with pytest.raises(AttributeError, match=r"has no 'RuleFeature', expected one of"):
        _ = unsupervised_update_rules.RuleFeature


@pytest.mark.parametrize("command", [[], ["--help"], ["evalute"]])
def test_without_a_command_the_commands_are_listed(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "unsupervised_update_rules", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == (0 if command == ["--help"] else 2)
    assert "meta_train" in done.stdout + done.stderr


def test_a_file_that_hides_a_package_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text("", encoding="utf-8")
    for words in (["-m", "unsupervised_update_rules"], [str(ROOT / "scripts" / "evaluate.py")]):
        extra = ["evaluate"] if words[0] == "-m" else []
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, *words, *extra, "--data", "digits"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=variables,
            check=False,
        )
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"error: {tmp_path / 'tasks.py'} hides the package tasks" in done.stderr
