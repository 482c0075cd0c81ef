"""What base networks are drawn from in meta-training: a family that a config states."""

from typing import Any, ClassVar, Self

import torch

from update_rules.contract import Network


class NetworkFamily:
    """Base networks of one kind. Its options, the arguments of the constructor, are the choices that it draws from."""

    layers: ClassVar[str]
    """"dense" or "convolutional": a rule says which it can train."""
    member: ClassVar[type[Any]]
    """The class of its networks, a frozen dataclass whose ``kind`` is the family's name in a config."""

    @property
    def single(self) -> bool:
        """Whether all networks for tasks of one width are the same: unless they are drawn."""
        return type(self).draw is NetworkFamily.draw

    @property
    def competes(self) -> bool:
        """Whether the units of a hidden layer compete in the first network."""
        return False

    @property
    def differentiable(self) -> bool:
        """Whether a gradient passes through every network."""
        return True

    def first_options(self) -> dict[str, Any]:
        """The options of the family that has the first choices alone, as a YAML file holds them."""
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """What results say of the network of the first choices."""
        return {"network": self.first_options()}

    def varied(self, what: str, value: Any) -> Self:
        """The family whose first network has another ``what``: width (a factor), depth or activation.

        Raises ValueError where it has none to vary.
        """
        raise ValueError(
            f"got a network of {self.layers} layers for a sweep of {what}, expected mlp or a family with varied"
        )

    def draw(self, inputs: int, logits: int, generator: torch.Generator) -> Network:
        """A network for ``inputs`` inputs; with ``logits`` > 0 these are its outputs, else its features.

        Raises ValueError for inputs that no network of the family can take.
        """
        return self.first(inputs, logits)

    def first(self, inputs: int, logits: int) -> Network:
        """The network of the first choices, whatever is drawn. Raises as ``draw``."""
        raise NotImplementedError
