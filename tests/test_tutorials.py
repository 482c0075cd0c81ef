"""Each tutorial, done as it says from top to bottom in an empty folder, prints what it shows."""

import io
import os
import re
import shlex
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"```(python|sh|text)\n(.*?)```", flags=re.DOTALL)


PAGES = [
    pytest.param(page, id=page.stem, marks=[] if page.stem == "own_rule" else [pytest.mark.thorough])
    for page in TUTORIALS
]


@pytest.mark.parametrize("page", PAGES)
def test_it_works_as_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    before = set(sys.modules)
    space: dict[str, object] = {}
    printed = ""
    try:
        for language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
            named = re.match(r"# (\w+\.py)\n", code)
            if language == "text":
                assert_shown(code, printed)
            elif named:
                Path(named[1]).write_text(code, encoding="utf-8")
            else:
                printed = python(code, page, space) if language == "python" else commands(code)
    finally:
        for name in set(sys.modules) - before:
            if name.startswith("my_"):
                del sys.modules[name]


def python(code: str, page: Path, space: dict[str, object]) -> str:
    """What ``code`` prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(code, str(page), "exec"), space)
    return printed.getvalue()


def commands(code: str) -> str:
    """What the commands in ``code`` print."""
    printed = io.StringIO()
    for line in code.strip().splitlines():
        _, script, *arguments = shlex.split(line)
        name = Path(script).stem
        assert script == os.fspath(Path("scripts") / f"{name}.py")
        with redirect_stdout(printed):
            assert import_module(f"unsupervised_update_rules.commands.{name}").main(arguments) == 0
    return printed.getvalue()


def assert_shown(shown: str, printed: str) -> None:
    """Whether ``shown`` is what was ``printed``, all words alike and numbers nearly."""
    for line in shown.strip().splitlines():
        near = [other for other in printed.splitlines() if words(other) == words(line)]
        assert near, f"{line!r} is not in {printed}"
        pairs = [zip(numbers(line), numbers(other), strict=True) for other in near]
        assert any(all(abs(a - b) <= max(2.0, 0.02 * abs(a)) for a, b in pair) for pair in pairs), (line, near)


def words(line: str) -> list[str]:
    """What there is in ``line`` but numbers, bars and signs."""
    return re.findall(r"[a-z_]+", line)


def numbers(line: str) -> list[float]:
    """The numbers in ``line``."""
    return [float(number) for number in re.findall(r"\d+(?:\.\d+)?", line)]
