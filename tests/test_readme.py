"""What the README shows must work."""

import re
from pathlib import Path

import pytest
import torch

from inner_loop.networks.mlp import MLP
from tasks.data.sources import load_source

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=[code.split("\n", 1)[0] for code in BLOCKS])
def test_python_blocks_run(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


def test_the_rule_of_ones_own_is_about_thirty_lines_and_meta_trains() -> None:
    code = next(code for code in BLOCKS if "class Oja" in code)
    body = code[code.index("class Oja") : code.index("network = MLP")]
    assert len(body.strip().splitlines()) <= 32
    space: dict[str, type] = {}
    exec(compile(code, "README.md", "exec"), space)
    rule, network = space["Oja"](), MLP((9, 7, 5))
    state = rule.init_state(network, torch.Generator().manual_seed(0))
    x = torch.rand(12, 9, generator=torch.Generator().manual_seed(1))
    loss = rule.features(network, rule.step(network, state, {"unlabelled": x}), x).square().sum()
    (gradient,) = torch.autograd.grad(loss, [rule.rates])
    assert gradient.isfinite().all()
    assert gradient.abs().min() > 0


def test_the_file_that_the_page_on_data_writes_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "data.md", "exec"), {})
    (train,), (test,) = (load_source(f"npz:mine.npz@{part}", size=14, seed=0) for part in ("train", "test"))
    assert train.inputs == test.inputs == 196
    assert len(train.x) + len(test.x) == 200


def test_files_and_settings_that_it_names_exist() -> None:
    root = Path(__file__).parent.parent
    for name in set(re.findall(r"(?:configs|scripts|update_rules|tests|docs)/[\w/]+\.(?:py|yaml|md)", TEXT)):
        assert (root / name).exists(), name
