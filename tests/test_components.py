"""Components found by name or path, checked options, and what may be imported."""

import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from common.components import Registry, arguments_of
from inner_loop.networks.registry import NETWORKS
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.optimisers import OPTIMISERS
from outer_loop.readouts.registry import READOUTS
from tasks.labellers.registry import LABELLERS
from update_rules.contract import Rule
from update_rules.local.hebbian import Hebbian
from update_rules.registry import RULES

MODULE = """
from update_rules.contract import Rule

open("imported", "w").close()


class Mine(Rule):
    name = "mine"

    def __init__(self, rate: float = 0.5, sizes: tuple[int, ...] = (1,)) -> None:
        super().__init__()
        self.config = {"rate": rate, "sizes": list(sizes)}


class Other:
    pass
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a module, in the folder that Python now works in, that tells by a file when it is imported."""
    name = f"mine_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    sys.modules.pop(name, None)


def test_a_path_and_a_name_give_the_class(mine: str) -> None:
    assert RULES.find("hebbian") is Hebbian
    found = RULES.find(f"{mine}:Mine")
    assert issubclass(found, Rule)
    assert (RULES.name_of(Hebbian), RULES.name_of(found)) == ("hebbian", f"{mine}:Mine")


def test_options_are_checked_against_the_annotations_and_lists_become_tuples(mine: str) -> None:
    made = RULES.make(f"{mine}:Mine", {"rate": 1, "sizes": [2, 3]})
    assert made.config == {"rate": 1.0, "sizes": [2, 3]}
    with pytest.raises(ValidationError) as caught:
        RULES.checked(f"{mine}:Mine", {"rate": "a", "sizes": 4, "rte": 1.0})
    wrong = caught.value.errors()
    assert [(one["loc"], one["input"], one["type"]) for one in wrong] == [
        (("rate",), "a", "float_type"),
        (("sizes",), 4, "tuple_type"),
        (("rte",), 1.0, "expected"),
    ]
    assert "did you mean rate?" in wrong[2]["msg"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hebian", r"got rule 'hebian', expected one of metz.*did you mean hebbian\?\), or my_module:MyClass"),
        ("no_such_module:Mine", r"a module that Python finds; there is no no_such_module: start in the folder"),
        ("MINE:Lost", r"expected a class there that derives from Rule"),
        ("MINE:Other", r"expected a class there that derives from Rule"),
        ("MINE:", r"expected one of metz"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(mine: str, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RULES.find(name.replace("MINE", mine))
    assert "\n" not in str(caught.value)


def test_a_foreign_module_is_named_and_not_imported_until_it_is_trusted(mine: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"file x: needs the rule {mine}:Mine, so the module {mine}.*--trust {mine}"):
        RULES.check_trust(f"{mine}:Mine", [], "file x")
    with pytest.raises(ValueError, match="--trust"):
        RULES.check_trust(f"{mine}:Mine", [mine[:-1]], "file x")
    RULES.check_trust(f"{mine}:Mine", [mine], "file x")
    RULES.check_trust("hebbian", [], "file x")
    assert not (tmp_path / "imported").exists()
    assert RULES.find(f"{mine}:Mine").name == "mine"
    assert (tmp_path / "imported").exists()


def test_every_registered_component_is_there() -> None:
    for registry in (RULES, NETWORKS, LABELLERS, READOUTS, ESTIMATORS):
        assert isinstance(registry, Registry)
        for name in registry.names:
            assert registry.name_of(registry.find(name)) == name
    for name in OPTIMISERS.names:
        assert issubclass(OPTIMISERS.find(name), torch.optim.Optimizer)
    assert {"Adam", "SGD"} <= OPTIMISERS.names.keys()
    assert not {"LBFGS", "Optimizer"} & OPTIMISERS.names.keys()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("class Mine(", "a module that can be imported; broken_part raises SyntaxError: "),
        ("import no_such_package", "a module that can be imported; broken_part raises ModuleNotFoundError: No module"),
        (
            "from update_rules.contract import Rule\nclass Mine(Rule):\n  def __init__(self): 1 / 0",
            "cannot be made: ZeroDiv",
        ),
    ],
)
def test_a_part_that_cannot_be_imported_or_made_is_one_line(
    code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_part.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_part", raising=False)
    with pytest.raises(ValueError, match=told) as caught:
        RULES.make("broken_part:Mine", {})
    assert "\n" not in str(caught.value)
    sys.modules.pop("broken_part", None)


class Made:
    """Built by a ``__new__`` that takes whatever comes, as rules are."""

    def __new__(cls, *arguments: object, **options: object) -> "Made":
        return super().__new__(cls)


class Inherited(Made):
    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate


class Bare(Inherited):
    pass


def test_the_arguments_of_a_class_are_those_of_its_init_wherever_it_stands() -> None:
    assert list(arguments_of(Bare).parameters) == list(arguments_of(Inherited).parameters) == ["rate"]
    assert not arguments_of(Made).parameters
