"""Every example runs, and says what its page shows."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
SAYS = {
    "estimator_of_ones_own": "after 10 outer steps",
    "features_for_own_data": "features (1797, 32)",
    "meta_gradient": "gradient of the twelve coefficients",
    "objective_of_ones_own": "accuracy 1.00",
    "rule_of_ones_own": "gradient of the rates",
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs_from_another_folder(path: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert SAYS[path.stem] in done.stdout
    assert path.read_text(encoding="utf-8").startswith("# %% [markdown]\n")


def test_one_label_a_class_tells_more_from_features_than_from_pixels(tmp_path: Path) -> None:
    path = next(path for path in EXAMPLES if path.stem == "features_for_own_data")
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, cwd=tmp_path, check=True)
    shares = {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines() if " % from" in line}
    assert shares["features"] > shares["pixels"] + 10
