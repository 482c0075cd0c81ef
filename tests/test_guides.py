"""What the guides and the reference pages say must be so: flags, keys, names; and guides are short."""

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prose import prose

import unsupervised_update_rules
from benchmarks import command as benchmark
from common.yaml_dialect import parse_yaml
from experiment.report.signatures import signature_text, value_text
from outer_loop.config.errors import fields
from outer_loop.config.file import by_dotted_key
from outer_loop.config.schema import Config
from unsupervised_update_rules.commands.reference import GROUPS, parsers

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))
OTHERS = re.compile(r"torchrun|sbatch |--(nnodes|nproc-per-node|max-restarts|rdzv-\w+)\b|pip install|--requirement")
"""Programs that are not ours, and options of torchrun."""


def reference(name: str) -> str:
    return (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_key_that_configs_set_is_in_the_reference(config: Path) -> None:
    page = reference("config.md")
    settings: Any = parse_yaml(config.read_text(encoding="utf-8"), config.name)
    known = {key for key, _, _ in fields(Config())}
    if config.stem == "sweep":
        settings = dict.fromkeys(settings["parameters"])
    for key in by_dotted_key(settings):
        section, option, name = key.partition(".options.")
        if option:  # of a component: in its table
            assert f"| `{name}` |" in page, key
        else:
            assert f"| `{section}` |" in page or f"| `{section}.name` |" in page, key
    assert all(f"| `{key}` |" in page for key in known)


def test_every_component_and_every_exported_name_is_in_the_reference() -> None:
    text = reference("config.md")
    for name in ("metz", "protonet", "conv4", "hyperplanes", "prototypes", "evolution_strategies"):
        assert f"**`{name}`**: " in text
    api = reference("api.md")
    for name in unsupervised_update_rules.__all__:
        assert f"### `{name}`\n" in api
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(unsupervised_update_rules.__all__)


def test_every_command_is_in_the_reference_with_every_option() -> None:
    for name, parser in parsers().items():
        (section,) = re.findall(rf"^## {name}\n(.*?)(?=^## |\Z)", reference("commands.md"), flags=re.DOTALL | re.M)
        for option in {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}:
            assert f"`{option}`" in section, f"{name} {option}"


def test_the_reference_says_nothing_of_the_machine_that_wrote_it() -> None:
    for page in (ROOT / "docs" / "reference").iterdir():
        text = page.read_text(encoding="utf-8")
        for trace in (str(ROOT), " at 0x", "<class", "typing.", "<factory>"):
            assert trace not in text, f"{page.name}: {trace}"


def test_every_flag_that_readme_and_guides_name_is_one_of_a_command() -> None:
    commands = {**parsers(), "benchmark": benchmark.make_parser()}
    flags = {name: set(parser._option_string_actions) for name, parser in commands.items()}
    every = set().union(*flags.values())
    for page in [ROOT / "README.md", *GUIDES]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in text.splitlines():
            for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", OTHERS.sub("", line)):
                assert flag in every, f"{page.name}: {flag}"
        for name, rest in re.findall(r"^(?:python|torchrun .*?) ?scripts/(\w+)\.py(.*)$", text, flags=re.MULTILINE):
            if name in flags:
                for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", rest.partition("#")[0]):
                    assert flag in flags[name], f"{page.name}: {name}.py {flag}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_settings_and_files_that_a_guide_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    known = {key for key, _, _ in fields(Config())}
    sections = {key.rpartition(".")[0] for key in known}
    for key in re.findall(r"(?<![\w/.])((?:inner|outer|tasks|network|rule|evaluation|report)(?:\.[a-z_]+)+)", text):
        if key.endswith((".safetensors", ".json", ".jsonl", ".yaml")) or ".options." in key:
            continue
        assert key in known | sections, key
    for name in re.findall(r"(?:configs|scripts|tests|evaluation)/[\w/]+\.(?:py|yaml|sbatch)", text):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_asks_a_question_and_has_its_numbers_in_tables(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(r"# .*\?\n", text)
    for paragraph in prose(text):
        for sentence in re.split(r"[.:;?]\s", paragraph):
            told = re.sub(r"`[^`]*`|\]\([^)]*\)", "", sentence)
            assert len(re.findall(r"\d+", told)) <= 2, sentence


def test_types_are_told_in_words() -> None:
    outer = Config.model_fields["outer"].annotation.model_fields  # type: ignore[union-attr]
    assert value_text(outer["average"].annotation, outer["average"].metadata) == "number ≥ 0, < 1"
    assert value_text(tuple[int, int] | None) == "[integer, integer] or null"
    module = import_module("outer_loop.estimators.contract")
    assert signature_text("Estimate", module.Estimate).startswith("Estimate(direction: dict[str, Tensor], carried: ")
    made = import_module("update_rules.registry").make_rule
    assert signature_text("make_rule", made) == "make_rule(name: str, **options: Option) -> Rule"
    use = import_module("evaluation.protocol").Use
    assert signature_text("Use", use).startswith("Use(network: NetworkFamily = ")  # what it derives from comes first
