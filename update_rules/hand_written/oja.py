"""``oja``: units come to span the principal components of a layer's input (Oja, 1989)."""

from torch import Tensor

from update_rules.hand_written.layerwise import Layerwise


class Oja(Layerwise):
    """Oja's subspace rule: Δw = ⟨x yᵀ⟩ − w ⟨y yᵀ⟩, means over examples."""

    name = "oja"

    def change(self, x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        """Hebbian growth, less what all units already tell."""
        return (x.mT @ y - w @ (y.mT @ y)) / len(x)
