"""What the values in a config may be, and how a value that is none of them is reported."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from common.checked import Count, Expected
from common.components import Registry, Wrong


def rising(value: tuple[int, int]) -> tuple[int, int]:
    """``value``, if it is a range."""
    if value[0] > value[1]:
        raise Expected("[shortest, longest] with shortest <= longest")
    return value


def as_range(value: object) -> object:
    """A single number stands for the range that holds it alone."""
    return (value, value) if type(value) is int else value


def as_list(value: object) -> object:
    """A single number stands for a list of one."""
    return (value,) if type(value) is int else value


def yaml_true(value: object) -> object:
    """The name ``true``, which YAML reads as a truth value."""
    return "true" if value is True else value


Lax = Field(strict=False)  # a YAML list may stand for a tuple; its items stay strict
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Range = Annotated[tuple[Count, Count], Lax, AfterValidator(rising)]
CountOrRange = Annotated[Range, BeforeValidator(as_range)]
Counts = Annotated[tuple[Count, ...], Field(strict=False, min_length=1), BeforeValidator(as_list)]
Text = Annotated[str, StringConstraints(min_length=1)]
Sources = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]


class Section(BaseModel):
    """A part of the config: unknown keys and wrong types are errors, and nothing changes after loading."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


Options = dict[str, Any]
"""Keyword arguments of a component's class, which say what they may be."""


class Component(Section):
    """One component of a run, found by name or as ``module:Class``, and its options; a text alone is its name."""

    registry: ClassVar[Registry[Any]]

    name: Text
    options: Options = {}

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: object) -> object:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        try:
            wrong = list(self.registry.wrong(self.name, self.options))
        except ValueError as error:
            expected = str(error).partition("expected ")[2] or str(error)
            raise ValidationError.from_exception_data("name", [problem(("name",), self.name, expected)]) from None
        if wrong:
            problems = [detail for one in wrong for detail in _details(one)]
            raise ValidationError.from_exception_data("options", problems)
        return self


def _details(one: Wrong) -> list[InitErrorDetails]:
    """The errors of an option, with what is wrong inside it."""
    if one.errors:
        return [
            problem(("options", one.option, *error["loc"]), error["input"], error["ctx"]["expected"])
            if error["type"] == "expected"
            else InitErrorDetails(
                type=error["type"],
                loc=("options", one.option, *error["loc"]),
                input=error["input"],
                ctx=error.get("ctx", {}),
            )
            for error in one.errors
            if error["type"] != "needs_python_object"  # a union's class, which no YAML file holds
        ]
    colon = " (in braces a blank goes after each colon)" if ":" in one.option and one.given is None else ""
    return [problem(("options", one.option), one.given, one.expected + colon)]


def component_name(default: str, registry: Registry[Any]) -> Any:
    """The field of a component's name."""
    return Field(default=default, description=f"one of {', '.join(registry.names)}, or my_module:MyClass")


def problem(loc: tuple[str | int, ...], given: object, expected: str) -> InitErrorDetails:
    """The error of a value at ``loc``, which should have been what ``expected`` says."""
    return InitErrorDetails(type=Expected(expected), loc=loc, input=given)


def invalid(key: str, given: object, expected: str) -> ValidationError:
    """The error of ``key`` in a section, where the fault shows only together with another key."""
    return ValidationError.from_exception_data("config", [problem((key,), given, expected)])
