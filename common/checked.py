"""Types of options that say what they take, for configs and for the constructors of components."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from common.names import did_you_mean


def not_expected(expected: str) -> PydanticCustomError:
    """The error of a value that should have been ``expected``, which completes "got ..., expected ..."."""
    return PydanticCustomError("expected", "{expected}", {"expected": expected})


def one_of(*names: str) -> AfterValidator:
    """A check that a string is one of ``names``."""

    def check(value: str) -> str:
        if value not in names:
            raise not_expected(f"one of {', '.join(names)}{did_you_mean(value, names)}")
        return value

    return AfterValidator(check)


Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rates = Annotated[tuple[Rate, ...], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Chance = Annotated[float, Field(ge=0, le=1)]
