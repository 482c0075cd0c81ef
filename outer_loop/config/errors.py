"""What is wrong with settings, in one line: every wrong key, what was given, what was expected, and the nearest key."""

from collections.abc import Iterable, Iterator, Sequence

from pydantic_core import ErrorDetails

from common.names import did_you_mean
from common.yaml_dialect import yaml_value
from outer_loop.config.moved import moved
from outer_loop.config.values import Component, Section


def fields(section: Section, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Dotted key, value as YAML, and description of every setting of ``section``."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from fields(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", yaml_value(section.model_dump(mode="json")[name]), field.description or ""


SYNONYMS = {
    **dict.fromkeys(("lr", "meta_lr", "outer_lr"), "outer.learning_rate"),
    **dict.fromkeys(("epochs", "iterations", "steps", "max_steps"), "outer_steps"),
    **dict.fromkeys(("batch_size", "inner_batch"), "tasks.batch"),
    **dict.fromkeys(("meta_batch_size", "task_batch"), "outer.tasks_per_step"),
    **dict.fromkeys(("way", "n_way", "num_ways"), "tasks.ways"),
    **dict.fromkeys(("shot", "k_shot", "num_shots"), "tasks.shots"),
    **dict.fromkeys(("optimizer", "optim"), "outer.optimiser"),
    **dict.fromkeys(("wandb", "logger"), "tracking"),
    **dict.fromkeys(("data", "dataset", "datasets"), "tasks.sources"),
    **dict.fromkeys(("out", "out_dir", "output_dir", "save_dir"), "run_dir"),
}
"""What keys are called elsewhere -> the key here."""


def _siblings(key: str, valid: Iterable[str], prefix: str, root: Section) -> str:
    """What an unknown ``key`` should have been: the ``valid`` keys beside it, and the nearest of all under ``root``."""
    hint = did_you_mean(prefix + key, [prefix + name for name in valid])
    if key.lower() in SYNONYMS:
        hint = f" (did you mean {SYNONYMS[key.lower()]}?)"
    elif not hint:
        everywhere = [name for name, _, _ in fields(root)]
        same = [name for name in everywhere if name.rpartition(".")[2] == key]
        hint = f" (did you mean {same[0]}?)" if same else did_you_mean(prefix + key, everywhere)
    return f"one of {', '.join(valid)}{hint}"


def section_at(loc: Sequence[int | str], root: type[Section]) -> type[Section] | None:
    """The section that ``loc`` leads to from ``root``, or None if it leads to a value."""
    section = root
    for name in loc:
        field = section.model_fields.get(str(name))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Section)):
            return None
        section = field.annotation
    return section


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping of names to values",
    "either": "a number, true or false, or a text",
    "expected": "{expected}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "int_type": "an integer",
    "invalid_key": "a name",
    "less_than": "less than {lt}",
    "missing": "a list of two",
    "string_pattern_mismatch": "cpu, cuda or cuda:N",
    "string_too_short": "a text that is not empty",
    "string_type": "a text",
    "too_long": "a list of two",
    "too_short": "a list that is not empty",
    "tuple_type": "a list",
}

_EITHER = (("int", "int_type"), ("float", "float_type"), ("bool", "bool_type"), ("str", "string_type"))
"""How the places of errors end, and their types, where a value may be any of these: pydantic gives one of each."""


def explain_all(errors: Sequence[ErrorDetails], root: Section) -> str:
    """One line about all wrong keys of settings like ``root``."""
    # A list is not called too short when it is its items that are wrong.
    blamed = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    return "; ".join(
        dict.fromkeys(_explain(e, root) for e in errors if not (e["type"] == "too_short" and e["loc"] in blamed))
    )


def _explain(error: ErrorDetails, root: Section) -> str:
    """One clause about one wrong key: its dotted name, what was given, what was expected."""
    *parents, key = error["loc"]
    dotted = ".".join(str(part) for part in error["loc"])
    given = repr(error["input"])
    given = given if len(given) <= 60 else f"{given[:57]}..."
    kind, context = error["type"], error.get("ctx", {})
    section = section_at(error["loc"], type(root))
    if kind == "extra_forbidden":
        instead = moved(dotted, error["input"])
        if instead is not None:
            return f"config key {dotted}: got {given}, which has moved: leave it out, or write {instead}"
        valid = list((section_at(parents, type(root)) or type(root)).model_fields)
        expected = _siblings(str(key), valid, "".join(f"{part}." for part in parents), root)
        return f"unknown config key {dotted}: got {given}, expected {expected}"
    if (key, kind) in _EITHER:
        dotted, kind = dotted.rpartition(".")[0], "either"
        if error["input"] is None and ":" in dotted:
            dotted += " (in braces a blank goes after each colon)"
    if kind == "missing":  # every key has a default: what is missing is an item of a pair
        dotted = dotted.rpartition(".")[0]
    if section is not None:
        name_alone = "a name, or " if issubclass(section, Component) else ""
        expected = f"{name_alone}a section with the keys {', '.join(section.model_fields)}"
    elif kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**context)
    else:
        expected = error["msg"].removeprefix("Input should be ")
    return f"config key {dotted}: got {given}, expected {expected}"
