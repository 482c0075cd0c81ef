"""Reference pages written from the code: keys of configs and options of components, commands, the public names."""

import argparse
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from common.components import Registry
from common.yaml_dialect import yaml_value
from experiment.report.pages import markdown_table
from experiment.report.signatures import members, paragraph, plain, signature_text, text_below, value_text
from outer_loop.config.schema import Config
from outer_loop.config.values import Component, Section

NOTE = "Written by `make pages` from the code; do not edit."

KEYS = ("key", "value", "default", "meaning")

FOLLOWS = "the run's"
"""The default of an option that has none: what makes the component states it."""


def config_page() -> str:
    """Every key of a config, and every component that one can name, with its options."""
    config = Config()
    sections = [(name, value) for name, value in config if isinstance(value, Section)]
    parts = [
        "# What can a config say?",
        NOTE,
        "A config is a YAML file. A dot in a key stands for a section: `outer.clip` is `clip` under `outer`. On the "
        "command line of `meta_train`, `key=value` sets one key. What is left out has its default.",
        "## The run",
        markdown_table(KEYS, list(_rows(config, "", own=True))),
    ]
    for name, section in sections:
        rows = list(_rows(section, f"{name}."))
        parts += [f"## {name}", paragraph(type(section)), markdown_table(KEYS, rows)]
    parts += [
        "## Components",
        "A component is named as `{name: NAME, options: {...}}`, or by its name alone. `my_module:MyClass` names a "
        f"class of your own. An option whose default is *{FOLLOWS}* follows from the other settings. So do `seed` and "
        "`running` of a rule where a config leaves them out.",
    ]
    for key, component in _components(config, ""):
        parts += [f"### {_title(component.registry)}", f"Named by `{key}.name`.", *_choices(component.registry)]
    return _page(parts)


def _components(section: BaseModel, prefix: str) -> Iterator[tuple[str, Component]]:
    for name, value in section:
        if isinstance(value, Component):
            yield f"{prefix}{name}", value
        elif isinstance(value, Section):
            yield from _components(value, f"{prefix}{name}.")


def _title(registry: Registry[Any]) -> str:
    return f"{registry.kind.capitalize()}s"


def _rows(section: Section, prefix: str, *, own: bool = False) -> Iterator[Sequence[str]]:
    """The keys of ``section``, and of those below it, unless only its ``own`` are asked for, as rows of a table."""
    dumped = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            if not own:
                yield from _rows(value, f"{prefix}{name}.")
            continue
        meaning = field.description or ""
        if isinstance(section, Component) and name == "name":
            title = _title(section.registry)
            meaning = f"one of the [{title.lower()}](#{title.lower()}), or `my_module:MyClass`"
        kind = value_text(field.annotation, field.metadata)
        yield f"`{prefix}{name}`", kind, f"`{yaml_value(dumped[name])}`", meaning


def _choices(registry: Registry[Any]) -> Iterator[str]:
    """What each name of ``registry`` stands for, and its options."""
    if all(place.startswith("torch.") for place in registry.names.values()):
        yield "A class of `torch.optim` that needs gradients alone, with the options that PyTorch gives it."
        return
    for name in registry.names:
        yield f"**`{name}`**: {paragraph(registry.find(name))}"
        rows = []
        for option, one in registry.options(name).items():
            default = FOLLOWS if one.default is one.empty else f"`{yaml_value(json.loads(json.dumps(one.default)))}`"
            rows.append((f"`{option}`", value_text(one.annotation), default))
        if rows:
            yield markdown_table(("option", "value", "default"), rows)


def commands_page(parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The options of every command, from its parser."""
    parts = [
        "# What does each command take?",
        NOTE,
        "In a checkout a command is `python scripts/NAME.py`. Where the package is installed it is `python -m "
        "unsupervised_update_rules NAME`. Either tells the same with `--help`.",
    ]
    for name, parser in parsers.items():
        parts += [f"## {name}", *map(plain, (parser.description or "").split("\n\n"))]
        for group in parser._mutually_exclusive_groups:
            if group.required:
                parts.append("One is required: " + ", ".join(_names(action) for action in group._group_actions) + ".")
        actions = [action for action in parser._actions if action.dest != "help"]
        rows = [(_names(action), _given(action), _meaning(action)) for action in actions]
        parts.append(markdown_table(("option", "value", "meaning"), rows))
    return _page(parts)


def _names(action: argparse.Action) -> str:
    return ", ".join(f"`{name}`" for name in action.option_strings or [str(action.metavar or action.dest)])


def _given(action: argparse.Action) -> str:
    """What follows the option, with dots where several may."""
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        return ""
    listed = ", ".join(map(str, action.choices or ()))
    names = str(action.metavar or listed or action.dest.upper())
    return f"{names} ..." if action.nargs in ("+", "*") else names


def _meaning(action: argparse.Action) -> str:
    """The help, with the default where it is a plain value that the help does not tell."""
    text = action.help or ""
    if action.required and action.option_strings:
        text += " (required)"
    values = action.default if isinstance(action.default, list) else [action.default]
    if "default" not in text and values and all(type(one) in (int, float, str) for one in values):
        text += f" (default {' '.join(map(str, values))})"
    return text.strip()


def api_page(groups: Mapping[str, Sequence[str]], places: Mapping[str, str], bases: Sequence[str]) -> str:
    """The public names under headings, each with its signature and what it says of itself; ``places`` are modules.

    Of ``bases``, which a reader derives classes from, there is what they may override.
    """
    parts = [
        "# What can Python code import?",
        NOTE,
        "Every name here is one of `unsupervised_update_rules`, as in `from unsupervised_update_rules import unroll`. "
        "The module that it is from tells the rest in its docstrings.",
    ]
    for heading, names in groups.items():
        parts.append(f"## {heading}")
        for name in names:
            found = getattr(import_module(places[name]), name)
            alias = isinstance(found, types.GenericAlias)
            signed = f"{name} = {found}" if alias else signature_text(name, found)
            said = text_below(name, places[name]) if alias else paragraph(found)
            parts.append(f"### `{name}`\n\n```python\n{signed}\n```\n\n{said} From `{places[name]}`.")
            if name in bases and (rows := members(found)):
                parts.append(markdown_table(("member", "what it is"), rows))
    return _page(parts)


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"
