"""Configs as YAML files, with overrides from the command line."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from common.atomic_file import atomic_write
from common.yaml_dialect import parse_yaml, yaml_lines, yaml_value
from outer_loop.config.errors import explain_all, fields, section_at
from outer_loop.config.schema import Config
from outer_loop.config.values import Component, Section, yaml_true


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The checked settings in the YAML file ``path``, changed by ``overrides`` such as ``outer.learning_rate=3e-4``.

    Other keys keep their defaults. Raises OSError if the file cannot be read, and ValueError, one line that names every
    wrong key, what was given and what was expected.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"config file {path}: not found, expected a YAML file") from None
    except UnicodeDecodeError:
        raise ValueError(f"config file {path}: not UTF-8 text, expected a YAML file") from None
    except OSError as error:
        raise type(error)(f"config file {path}: {error.strerror}") from None
    settings = parse_yaml(text, f"config file {path}")
    if not isinstance(settings, dict):
        given = "nothing" if settings is None else type(settings).__name__
        raise ValueError(f"config file {path}: got {given}, expected lines of `key: value`")
    for override in overrides:
        _apply(settings, override)
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        raise ValueError(explain_all(error.errors(), Config())) from None


def save_config(config: Config, path: str | Path, made_by: Sequence[str] = ()) -> None:
    """Write every setting to the YAML file ``path``, below the commands ``made_by`` as comments. Raises OSError."""
    comments = "".join(f"# {' '.join(one.splitlines())}\n" for one in made_by)
    with atomic_write(path) as file:
        file.write((comments + yaml_lines(config.model_dump(mode="json"))).encode())


def made_by(path: str | Path) -> list[str]:
    """The commands in the first lines of a config that ``save_config`` wrote. Raises OSError."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("# ") for line in takewhile(lambda line: line.startswith("# "), lines)]


def by_dotted_key(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested ``settings`` as one dict, with keys such as ``outer.clip``."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= by_dotted_key(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def changed_settings(path: str | Path, other: str | Path) -> list[str]:
    """The overrides that make the experiment of the config at ``other`` that of ``path``, both from ``save_config``.

    Nothing that they name is imported. Raises OSError, and ValueError for files of another kind.
    """
    found = [parse_yaml(Path(one).read_text(encoding="utf-8"), str(one)) for one in (path, other)]
    if not all(isinstance(one, dict) for one in found):
        raise ValueError(f"got {path} and {other}, expected configs of runs")
    after, before = map(by_dotted_key, found)
    return [f"{key}={yaml_value(after[key])}" for key in after if key != "run_dir" and after[key] != before.get(key)]


def describe_config() -> str:
    """One line for each setting: dotted key, default and meaning. For ``--help`` and the documentation."""
    every = list(fields(Config()))
    width = max(len(f"{key}={value}") for key, value, _ in every)
    return "\n".join(f"{f'{key}={value}':{width}}  {text}" for key, value, text in every)


def _apply(settings: dict[Any, Any], override: str) -> None:
    """Put the value of ``dotted.key=value`` into ``settings``, some keys of a section beside the others there.

    Raises ValueError if it is not of that form.
    """
    key, equals, text = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last or "" in sections:
        raise ValueError(f"got override {override!r}, expected key=value such as outer.learning_rate=3e-4")
    value = _null(parse_yaml(text, f"override {override!r}"))
    for place, name in enumerate(sections):
        settings[name] = as_section(settings.get(name, {}), sections[: place + 1])
        settings = settings[name]
        if not isinstance(settings, dict):
            dotted = ".".join(sections[: place + 1])
            raise ValueError(f"got override {override!r}, but {dotted} is {settings!r}, expected a section with keys")
    settings[last] = _merged(settings.get(last), value, [*sections, last])


def _merged(old: Any, new: Any, keys: Sequence[str]) -> Any:
    """``new`` in the place of ``old`` at ``keys``: into a section go its keys alone, unless it is another component."""
    section, new = section_at(keys, Config), as_section(new, keys)
    if section is None or not isinstance(new, dict):
        return new
    old = as_section(old, keys)
    if not isinstance(old, dict) or (
        issubclass(section, Component) and new.get("name", _name(old, section)) != _name(old, section)
    ):
        return new
    return old | {key: _merged(old.get(key), value, [*keys, key]) for key, value in new.items()}


def _name(component: dict[str, Any], section: type[Section]) -> Any:
    return component.get("name", section.model_fields["name"].default)


def as_section(value: Any, keys: Sequence[str]) -> Any:
    """``value``, or if it is a text the section at ``keys`` that it stands for."""
    section, alone = section_at(keys, Config), yaml_true(value)
    return {section.alone: alone} if section is not None and section.alone and isinstance(alone, str) else value


def _null(value: Any) -> Any:
    """``value`` with Python's ``None``, as sweeps write it, for null."""
    if isinstance(value, dict):
        return {key: _null(item) for key, item in value.items()}
    return [_null(item) for item in value] if isinstance(value, list) else None if value == "None" else value
