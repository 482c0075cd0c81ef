"""Types of options that say what they take, for configs and for the constructors of components."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from common.names import did_you_mean


class Expected(PydanticCustomError):
    """What a checked value should have been: ``expected`` completes the sentence "got ..., expected ..."."""

    def __new__(cls, expected: str) -> Self:
        """The error that says what was ``expected``."""
        return super().__new__(cls, "expected", "{expected}", {"expected": expected})


def one_of(*names: str) -> AfterValidator:
    """A check that a string is one of ``names``."""

    def check(value: str) -> str:
        if value not in names:
            raise Expected(f"one of {', '.join(names)}{did_you_mean(value, names)}")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
