"""What the values in a config may be, and how a value that is none of them is reported."""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from common.checked import Count, not_expected
from common.components import Registry, located


def rising(value: tuple[int, int]) -> tuple[int, int]:
    """``value``, if it is a range."""
    if value[0] > value[1]:
        raise not_expected("[shortest, longest] with shortest <= longest")
    return value


def number_as(times: int) -> BeforeValidator:
    """A single number may stand for a list of so many of it."""
    return BeforeValidator(lambda value: (value,) * times if type(value) is int else value)


def as_texts(value: object) -> object:
    """A text stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def yaml_true(value: object) -> object:
    """The name ``true``, which YAML reads as a truth value."""
    return "true" if value is True else value


Lax = Field(strict=False)  # a YAML list may stand for a tuple; its items stay strict
Range = Annotated[tuple[Count, Count], Lax, AfterValidator(rising)]
CountOrRange = Annotated[Range, number_as(2)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1), number_as(1)]
Text = Annotated[str, Field(min_length=1)]
Texts = Annotated[tuple[Text, ...], Lax, BeforeValidator(as_texts)]
Sources = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), BeforeValidator(as_texts)]


class Section(BaseModel):
    """A part of the config: unknown keys and wrong types are errors, and nothing changes after loading.

    Where it says which key is ``alone``, a text stands for the section with that key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    alone: ClassVar[str] = ""

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: object) -> object:
        value = yaml_true(value) if cls.alone else value
        return {cls.alone: value} if cls.alone and isinstance(value, str) else value

    def _misfits(self) -> Iterable[tuple[str, str]]:
        """Dotted key and what was expected, for values that fail together or in the eyes of what they name."""
        return ()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        problems = []
        for key, expected in self._misfits():
            given: Any = self
            for name in key.split("."):
                given = given[name] if isinstance(given, dict) else getattr(given, name)
            problems.append(InitErrorDetails(type=not_expected(expected), loc=tuple(key.split(".")), input=given))
        if problems:
            raise ValidationError.from_exception_data("config", problems)
        return self


Options = dict[str, Any]
"""Keyword arguments of a component's class, which say what they may be."""


class Component(Section):
    """One component of a run, found by name or as ``module:Class``, and its options; a text alone is its name."""

    registry: ClassVar[Registry[Any]]
    alone: ClassVar[str] = "name"

    name: Text
    options: Options = {}

    def _misfits(self) -> Iterable[tuple[str, str]]:
        try:
            self.registry.checked(self.name, self.options)
        except ValidationError as error:
            raise ValidationError.from_exception_data("options", located(error, "options")) from None
        except ValueError as error:
            return [("name", expected_by(error))]
        try:
            self._try_out()
        except ValueError as error:
            return [("options", f"what {self.registry.kind} {self.name} takes: {error}")]
        return ()

    def _try_out(self) -> None:
        """Raise ValueError for options that the class refuses, where that can be told before there is a task."""


def component_name(default: str, registry: Registry[Any]) -> Any:
    """The field of a component's name."""
    return Field(default=default, description=f"one of {', '.join(registry.names)}, or my_module:MyClass")


def expected_by(error: ValueError) -> str:
    """What a message "got ..., expected ..." says that it expected, or all of another message."""
    return str(error).partition("expected ")[2] or str(error)
