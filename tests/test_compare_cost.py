"""What outer steps cost, in turns."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from outer_loop.config.file import load_config
from unsupervised_update_rules.commands import compare_cost as script


def run_of(name: str, arguments: list[str], *more: str) -> list[str]:
    _, path, *overrides = arguments
    return ["--run", name, path, *overrides, *more]


@pytest.mark.thorough
def test_runs_are_timed_in_turns(
    tiny_config: Callable[..., list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fifteen times as many inner steps take longer, whatever else the machine does; nothing else is written."""
    out = tmp_path / "cost.json"
    tiny = tiny_config("run", "inner.length=[60,60]")
    runs = [*run_of("few", tiny, "inner.unroll=[2,2]"), *run_of("many", tiny, "inner.unroll=[30,30]")]
    assert script.main([*runs, "--outer-steps", "3", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert found["meta"]["command"].startswith("python scripts/compare_cost.py --run few ")
    costs = found["costs"]
    assert [len(costs[name]["seconds"]) for name in ("few", "many")] == [3, 3]
    assert all(one > other for one, other in zip(costs["many"]["seconds"], costs["few"]["seconds"], strict=True))
    assert all(0 < cost["loaded_mib"] <= cost["peak_mib"] for cost in costs.values())
    assert costs["few"]["outer_steps"] == load_config(tiny[1], tiny[2:]).outer_steps
    assert "times the first" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_with_a_run_is_one_line(tiny_config: Callable[..., list[str]]) -> None:
    tiny = tiny_config("run")
    with pytest.raises(ValueError, match="got --run a with nothing behind it, expected --run NAME CONFIG"):
        script.main(["--run", "a"])
    with pytest.raises(ValueError, match="got --run a with a name that another has"):
        script.main([*run_of("a", tiny), *run_of("a", tiny)])
    with pytest.raises(ValueError, match=r"^a: digits.* ways"):
        script.main([*run_of("a", tiny, "tasks.ways=11"), "--outer-steps", "3"])
