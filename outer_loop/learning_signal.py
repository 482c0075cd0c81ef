"""Whether gradients reach what a rule learns: checked in the first outer steps, so that nobody waits for nothing."""

from collections.abc import Mapping

from torch import Tensor

from common.notice import notice

PATIENCE = 10
"""Outer steps in which a parameter should have had a gradient."""


class LearningSignal:
    """Follows which parameters of the rule called ``name`` had no gradient yet; one that does not ``say`` is silent."""

    def __init__(self, name: str, *, say: bool = True) -> None:
        self.name, self.say = name, say
        self._untouched: set[str] = set()

    def check(self, outer_step: int, direction: Mapping[str, Tensor]) -> None:
        """Take note of the ``direction`` of the 0-based ``outer_step``; what had none for a while is told.

        Raises ValueError where no parameter gets a gradient in the first.
        """
        if outer_step >= PATIENCE:
            return
        without = {name for name, value in direction.items() if not value.any()}
        if len(without) == len(direction) and outer_step == 0:
            raise ValueError(
                f"rule {self.name}: no gradient reaches its parameters, so that nothing would be learned; its step or "
                "features cut it off (torch.no_grad, detach, .data, .item, numpy)"
            )
        self._untouched = without if outer_step == 0 else self._untouched & without
        if self._untouched and self.say and outer_step + 1 == PATIENCE:
            names = ", ".join(sorted(self._untouched))
            notice(f"rule {self.name}: no gradient in {PATIENCE} outer steps for {names}")
