"""Ranges of settings at which methods are compared: other networks, inputs and inner lengths than usual."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from common.checked import Count, Rate, one_of
from evaluation.protocol import Use
from inner_loop.networks.activations import NETWORK_ACTIVATIONS


@dataclass(frozen=True)
class Variation:
    """One place in a sweep: what it varies, and all settings there."""

    setting: dict[str, Any]
    inner: Use
    size: int
    permute: bool
    points: tuple[int, ...] | None = None
    """Inner steps at which rules are read, where these are what varies; else after the last."""


SWEEPS: dict[str, tuple[Any, str, str]] = {
    "width": (Rate, "factors above 0", "0.5 1 2 4 8"),
    "depth": (Count, "whole numbers of 1 or more", "1 2 3 4 6 8"),
    "activation": (
        Annotated[str, one_of(*NETWORK_ACTIVATIONS)],
        f"names from {', '.join(NETWORK_ACTIVATIONS)}",
        "relu leaky_relu tanh gelu silu step",
    ),
    "permute": (Literal["on", "off"], "on or off", "on off"),
    "steps": (Rate, "factors above 0", "0.1 0.2 0.5 1 1.5 2 3 4 5"),
    "batch": (Annotated[int, Field(ge=2)], "whole numbers of 2 or more", "8 16 32 64 128 256"),
    "size": (Count, "whole numbers of 1 or more", "8 10 14 20 28"),
}
"""What may be swept: the type of a value, which values there are, and the usual ones.

Width: factors of all hidden layers. Depth: layers with weights, hidden ones as wide as the first. Steps: factors of the
inner steps, read in one long run from its start on. Size: pixels of a side.
"""


def vary(name: str, values: Sequence[str], inner: Use, size: int, permute: bool) -> list[Variation]:
    """The variations of the sweep ``name`` at ``values``, or the usual ones where there are none.

    Raises ValueError for values that the sweep does not know, and for a depth above 1 without a hidden layer to repeat.
    """
    kind, expected, usual = SWEEPS[name]
    try:
        settings = [TypeAdapter(kind).validate_python(value) for value in values or usual.split()]
    except ValidationError:
        raise ValueError(f"got values {' '.join(values)} for a sweep of {name}, expected {expected}") from None
    if name == "steps":
        points = tuple(sorted({0, *(round(factor * inner.steps) for factor in settings)}))
        return [Variation({}, inner, size, permute, points)]
    return [_variation(name, value, inner, size, permute) for value in settings]


def _variation(name: str, value: Any, inner: Use, size: int, permute: bool) -> Variation:
    if name in ("width", "depth", "activation"):
        inner = replace(inner, network=inner.network.varied(name, value))
    elif name == "batch":
        inner = replace(inner, batch=value)
    elif name == "size":
        size = value
    else:
        permute = value == "on"
    return Variation({name: value}, inner, size, permute)
