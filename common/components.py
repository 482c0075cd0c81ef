"""Components: classes found by a name of ours or as ``my_module:MyClass``, and built from checked options.

Rules, base networks, labellers, readouts and estimators are configured alike, ``{name: ..., options: {...}}``: the
options are the keyword arguments of the class, checked against its annotations before anything is built.
"""

import inspect
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from common.names import did_you_mean

Option = Any
"""A number, text, truth value or list of these: what a YAML file can hold."""

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Wrong:
    """An option that a component cannot take."""

    option: str
    given: Any
    expected: str
    errors: Sequence[ErrorDetails] = ()
    """What pydantic says of a value; nothing for an option that there is not."""


@dataclass(frozen=True)
class Registry(Generic[Kind]):
    """The components of one ``kind``, a word for messages; each a ``base``.

    ``names`` says where the class of each name is, as ``module:Class``; a module is imported when its name is first
    asked for.
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
        module, colon, attribute = path.partition(":")
        if not colon or not module or not attribute:
            raise ValueError(
                f"got {self.kind} {name!r}, expected one of {', '.join(self.names)}{did_you_mean(name, self.names)}, "
                "or my_module:MyClass"
            )
        try:
            found = import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise _broken(self.kind, name, error) from error  # a module that is there imports one that is not
            raise ValueError(
                f"got {self.kind} {name!r}, expected a module that Python finds; there is no {module}: start in the "
                "folder that holds it, or put that folder on PYTHONPATH"
            ) from None
        except Exception as error:  # whatever a module of the user's raises is the user's to mend
            raise _broken(self.kind, name, error) from error
        made = getattr(found, attribute, None)
        if not (isinstance(made, type) and issubclass(made, self.base)):
            raise ValueError(f"got {self.kind} {name!r}, expected a class there that derives from {self.base.__name__}")
        return made

    def name_of(self, component: type) -> str:
        """What files call the class ``component``: its name among ``names``, or its path ``module:Class``."""
        path = f"{component.__module__}:{component.__qualname__}"
        return next((name for name, place in self.names.items() if place == path), path)

    def check_trust(self, name: str, trust: Collection[str], where: str) -> None:
        """Raise ValueError unless ``name`` is one of ``names`` or lies in a module of ``trust``; imports nothing.

        ``where`` begins the message.
        """
        if name in self.names or ":" not in name:
            return
        module = name.partition(":")[0]
        trusted = [one.partition(":")[0] for one in ([trust] if isinstance(trust, str) else trust)]
        if not any(f"{module}.".startswith(f"{one}.") for one in trusted):
            raise ValueError(
                f"{where}: needs the {self.kind} {name}, so the module {module}, whose code would run; if you trust "
                f"it, add --trust {module} (in Python trust=[{module!r}])"
            )

    def options(self, name: str) -> dict[str, inspect.Parameter]:
        """The keyword arguments of a component, with the types that its annotations say. Raises as ``find``."""
        component = self.find(name)
        signature = inspect.signature(component)
        hints = get_type_hints(component.__init__, include_extras=True)
        return {
            option: parameter.replace(annotation=hints.get(option, Any))
            for option, parameter in signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }

    def wrong(self, name: str, options: Mapping[str, Option]) -> Iterator[Wrong]:
        """What of ``options`` a component cannot take: unknown ones, values of another type. Raises as ``find``."""
        valid = self.options(name)
        for option, value in options.items():
            if option not in valid:
                names = f"one of {', '.join(valid)}{did_you_mean(option, valid)}" if valid else "no options"
                yield Wrong(option, value, names)
                continue
            hint = valid[option].annotation
            try:
                converted(value, hint)
            except ValidationError as error:
                name = hint.__name__ if isinstance(hint, type) else error.errors()[0]["msg"]
                yield Wrong(option, value, name.removeprefix("Input should be "), error.errors())

    def make(self, name: str, options: Mapping[str, Option]) -> Kind:
        """The component ``name`` built with ``options``; the others keep their defaults.

        Raises ValueError, naming the option, for what ``wrong`` finds, an option without a default that lacks, and for
        what the class itself refuses.
        """
        for one in self.wrong(name, options):
            what = f"{one.option}={one.given!r}" if one.errors else f"option {one.option!r}"
            raise ValueError(f"{self.kind} {name}: got {what}, expected {one.expected}")
        valid = self.options(name)
        for option, parameter in valid.items():
            if parameter.default is parameter.empty and option not in options:
                raise ValueError(f"{self.kind} {name}: got no option {option}, which it needs")
        made, given = self.find(name), self.converted(name, options)
        if name in self.names:
            return made(**given)
        try:
            return made(**given)
        except Exception as error:
            raise ValueError(f"{self.kind} {name} cannot be made: {type(error).__name__}: {error}") from error

    def converted(self, name: str, options: Mapping[str, Option]) -> dict[str, Any]:
        """``options`` with the values that the component takes. Raises as ``converted``."""
        valid = self.options(name)
        return {option: converted(value, valid[option].annotation) for option, value in options.items()}


def _broken(kind: str, name: str, error: Exception) -> ValueError:
    """What to tell of a module that cannot be imported; the whole traceback is the error's cause."""
    return ValueError(
        f"got {kind} {name!r}, expected a module that can be imported; {name.partition(':')[0]} raises "
        f"{type(error).__name__}: {error}"
    )


def converted(value: Option, hint: Any) -> Any:
    """``value`` as the type ``hint`` says: of exactly that type, but an integer for a float and a list for a tuple.

    Raises pydantic's ValidationError for other values, and TypeError for what no YAML file holds.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(hint, config={"arbitrary_types_allowed": True})
    return adapter.validate_json(json.dumps(value), strict=True)
