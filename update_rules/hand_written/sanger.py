"""``sanger``: units find the principal components of a layer's input one by one (Sanger, 1989)."""

from torch import Tensor

from update_rules.hand_written.layerwise import Layerwise


class Sanger(Layerwise):
    """The generalised Hebbian algorithm: Δw = ⟨x yᵀ⟩ − w · upper(⟨y yᵀ⟩), means over examples.

    A unit takes off what it and those before it tell, so that the order of units matters.
    """

    name = "sanger"

    equivariant = frozenset({"inputs", "examples"})

    def change(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Hebbian growth, less what the units up to this one already tell."""
        return (x.mT @ y - w @ (y.mT @ y).triu()) / len(x)
