"""The names of what evaluation may read features out by, as a config says them."""

from typing import Literal

Probe = Literal["ridge", "logistic", "prototype", "nearest", "spreading"]
