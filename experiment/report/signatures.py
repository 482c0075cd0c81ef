"""Annotations, signatures and docstrings as a reader sees them: the same in every version of Python."""

import ast
import inspect
import textwrap
import types
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic.fields import FieldInfo

WORDS = {bool: "true or false", int: "integer", float: "number", str: "text", dict: "mapping", type(None): "null"}
"""What a reader of YAML calls the types of values."""

FIELDS = {"_fields", "__dataclass_fields__"}
"""What classes have whose fields are the arguments of their constructor."""

WRAPPED: dict[str, Any] = {"width": 100, "subsequent_indent": "    ", "break_long_words": False}
"""How a longer signature goes on in further lines."""


def value_text(hint: Any, limits: Sequence[Any] = ()) -> str:
    """The values that an annotation takes, in words; ``limits`` are what Annotated says of it."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return value_text(inside[0], [*limits, *inside[1:]])
    flat = [one for limit in limits for one in (limit.metadata if isinstance(limit, FieldInfo) else [limit])]
    if origin is Literal:
        return ", ".join("true" if one is True else str(one) for one in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(value_text(one) for one in inside)
    if origin is tuple and inside[-1] is Ellipsis:
        return f"list of {value_text(inside[0])}" + (", not empty" if any(isinstance(o, MinLen) for o in flat) else "")
    if origin is tuple:
        return f"[{', '.join(map(value_text, inside))}]"
    signs = {Ge: ("≥", "ge"), Gt: (">", "gt"), Lt: ("<", "lt")}
    told = [f"{sign} {getattr(one, name)}" for one in flat for kind, (sign, name) in signs.items() if type(one) is kind]
    return f"{WORDS.get(origin or hint) or hint.__name__} {', '.join(told)}".strip()


def signature_text(name: str, made: Callable[..., Any]) -> str:
    """How ``name`` is called, as its source says."""
    node = ast.parse(inspect.getsource(made)).body[0]
    if isinstance(node, ast.ClassDef):
        package = made.__module__.partition(".")[0]  # what torch's own classes take is not for readers
        found = (vars(one).get("__init__") for one in inspect.getmro(cast(type, made)))
        starts = [one for one in found if inspect.isfunction(one) and one.__module__.partition(".")[0] == package]
        if is_dataclass(made) or not starts:
            return textwrap.fill(f"{name}({', '.join(_fields(made))})", **WRAPPED)
        node = ast.parse(textwrap.dedent(inspect.getsource(starts[0]))).body[0]
        assert isinstance(node, ast.FunctionDef)
        node.args.args.pop(0)  # self
    assert isinstance(node, ast.FunctionDef)
    returned = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    return textwrap.fill(f"{name}({ast.unparse(node.args)}){returned}", **WRAPPED)


def _fields(made: Callable[..., Any]) -> list[str]:
    """The fields of a dataclass and of those that it derives from, or of a named tuple, as written."""
    kinds = [one for one in reversed(inspect.getmro(cast(type, made))) if vars(one).keys() & FIELDS]
    nodes = [node for one in kinds for node in cast(ast.ClassDef, ast.parse(inspect.getsource(one)).body[0]).body]
    fields = [ast.unparse(node) for node in nodes if isinstance(node, ast.AnnAssign)]
    return [field for field in fields if ": ClassVar" not in field]


def members(kind: type) -> list[tuple[str, str]]:
    """The public methods and properties that ``kind`` itself defines, as they are called, each with what it is."""
    rows = []
    for name, member in vars(kind).items():
        plain_function = getattr(member, "__func__", member)
        if name.startswith("_") or not (inspect.isfunction(plain_function) or isinstance(member, property)):
            continue
        taken = [] if isinstance(member, property) else list(inspect.signature(plain_function).parameters)[1:]
        rows.append(
            (f"`{name}`" if isinstance(member, property) else f"`{name}({', '.join(taken)})`", paragraph(member))
        )
    return rows


def paragraph(thing: Any) -> str:
    """The first paragraph of a docstring."""
    return plain((inspect.getdoc(thing) or "").split("\n\n")[0])


def plain(text: str) -> str:
    """``text`` on one line, with Markdown's marks of code."""
    return " ".join(text.split()).replace("``", "`")


def text_below(name: str, module: str) -> str:
    """The text below the assignment to ``name`` in ``module``."""
    body = ast.parse(inspect.getsource(import_module(module))).body
    for node, after in pairwise(body):
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            return plain(ast.literal_eval(after.value)) if isinstance(after, ast.Expr) else ""
    return ""
