"""Components: classes found by a name of ours or as ``my_module:MyClass``, and built from checked options.

A config says ``{name: ..., options: {...}}``; options are the keyword arguments of the class, checked by annotations.
"""

import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails

from common.checked import not_expected
from common.names import did_you_mean

Option = Any
"""A number, text, truth value or list of these: what a YAML file can hold."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Registry(Generic[Kind]):
    """The components of one ``kind``, a word for messages; each a ``base``.

    ``names`` has the ``module:Class`` of each name, which is imported when it is first asked for.
    """

    kind: str
    base: type[Kind]
    names: Mapping[str, str]

    def find(self, name: str) -> type[Kind]:
        """The class that ``name``, one of ``names`` or ``module:Class``, stands for.

        Importing a module runs its code: only for names from a config or from files that are trusted. Raises
        ValueError for a name of neither form, a module that is not there, and a class of another kind.
        """
        path = self.names.get(name, name)
        module, _, attribute = path.partition(":")
        if not module or not attribute:
            raise ValueError(
                f"got {self.kind} {name!r}, expected one of {', '.join(self.names)}{did_you_mean(name, self.names)}, "
                "or my_module:MyClass"
            )
        try:
            found = import_module(module)
        except Exception as error:  # whatever a module of the user's raises is the user's to mend
            expected = f"a module that can be imported; {module} raises {type(error).__name__}: {error}"
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                expected = f"a module that Python finds; there is no {module}: start in the folder that holds it, or "
                expected += "put that folder on PYTHONPATH"
            raise ValueError(f"got {self.kind} {name!r}, expected {expected}") from error
        made = getattr(found, attribute, None)
        if not (isinstance(made, type) and issubclass(made, self.base)):
            raise ValueError(f"got {self.kind} {name!r}, expected a class there that derives from {self.base.__name__}")
        return made

    def name_of(self, component: type) -> str:
        """What files call the class ``component``: its name among ``names``, or its path ``module:Class``."""
        path = f"{component.__module__}:{component.__qualname__}"
        return next((name for name, place in self.names.items() if place == path), path)

    def check_trust(self, name: str, trust: Collection[str], where: str) -> None:
        """Raise ValueError, begun by ``where``, for a ``name`` of a module that is not ours nor in ``trust``."""
        module = name.partition(":")[0]
        trusted = [one.partition(":")[0] for one in ([trust] if isinstance(trust, str) else trust)]
        if name not in self.names and module != name and not any(f"{module}.".startswith(f"{one}.") for one in trusted):
            raise ValueError(
                f"{where}: needs the {self.kind} {name}, so the module {module}, whose code would run; if you trust "
                f"it, add --trust {module} (in Python trust=[{module!r}])"
            )

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The keyword arguments of a component, with the types that its annotations say. Raises as ``find``."""
        component = self.find(name)
        signature = arguments_of(component)
        hints = get_type_hints(component.__init__, include_extras=True)
        return {
            option: parameter.replace(annotation=hints.get(option, Any))
            for option, parameter in signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }

    def checked(self, name: str, options: Mapping[str, Option]) -> dict[str, Any]:
        """``options`` as the component takes them. Raises pydantic's ValidationError for others; as ``find``."""
        valid, taken = self.options(name), {}
        problems: list[InitErrorDetails] = []
        for option, value in options.items():
            if option in valid:
                try:
                    taken[option] = converted(value, valid[option].annotation)
                except ValidationError as error:
                    problems += located(error, option)
                continue
            expected = f"one of {', '.join(valid)}{did_you_mean(option, valid)}" if valid else "no options"
            if ":" in option and value is None:
                expected += " (in braces a blank goes after each colon)"
            problems.append(InitErrorDetails(type=not_expected(expected), loc=(option,), input=value))
        if problems:
            raise ValidationError.from_exception_data(name, problems)
        return taken

    def make(self, name: str, options: Mapping[str, Option]) -> Kind:
        """The component ``name`` built with ``options``; the others keep their defaults.

        Raises ValueError, naming the option, for what ``checked`` refuses, an option without a default that lacks, and
        for what the class itself refuses.
        """
        valid = self.options(name)
        try:
            given = self.checked(name, options)
        except ValidationError as error:
            first = error.errors()[0]
            option = str(first["loc"][0])
            what = f"{option}={options[option]!r}" if option in valid else f"option {option!r}"
            expected = first["msg"].removeprefix("Input should be ")
            raise ValueError(f"{self.kind} {name}: got {what}, expected {expected}") from None
        for option, parameter in valid.items():
            if parameter.default is parameter.empty and option not in options:
                raise ValueError(f"{self.kind} {name}: got no option {option}, which it needs")
        try:
            return self.find(name)(**given)
        except Exception as error:
            if name in self.names:
                raise
            raise ValueError(f"{self.kind} {name} cannot be made: {type(error).__name__}: {error}") from error


def arguments_of(component: type) -> inspect.Signature:
    """What the ``__init__`` of a class takes besides the object, its own or an inherited one.

    A ``__new__`` that takes whatever comes says nothing of it, but is what early releases of Python 3.11 answer with.
    """
    if component.__init__ is object.__init__:  # type: ignore[misc]
        return inspect.Signature()
    whole = inspect.signature(component.__init__)  # type: ignore[misc]
    return whole.replace(parameters=list(whole.parameters.values())[1:])


def converted(value: Option, hint: Any) -> Any:
    """``value`` as the type ``hint`` says: of exactly that type, but an integer for a float and a list for a tuple.

    Raises pydantic's ValidationError for other values, and TypeError for what no YAML file holds.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    return adapter.validate_json(json.dumps(value), strict=True)


def located(error: ValidationError, *where: str) -> list[InitErrorDetails]:
    """What is wrong according to ``error``, at places below ``where``."""
    return [
        InitErrorDetails(
            type=not_expected(one["ctx"]["expected"]) if one["type"] == "expected" else one["type"],
            loc=(*where, *one["loc"]),
            input=one["input"],
            ctx=one.get("ctx", {}),
        )
        for one in error.errors()
        if one["type"] != "needs_python_object"  # a union's class, which no YAML file holds
    ]
