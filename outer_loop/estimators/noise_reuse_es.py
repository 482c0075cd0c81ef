"""``noise_reuse_es``: persistent evolution strategies that keep their noise for many truncated unrolls."""

from common.checked import Count, Rate, Whole
from outer_loop.estimators.persistent_es import PersistentES


class NoiseReuseES(PersistentES):
    """Noise-reuse evolution strategies (Li et al., 2023): ε stays the same for ``reuse`` inner steps.

    It is drawn anew at the first outer step after so many; 0 keeps it for the whole trajectory, the least noisy choice
    where losses all go down along one direction. Else as ``persistent_es``, which draws at every outer step.
    """

    def __init__(self, deviation: Rate = 0.01, pairs: Count = 1, reuse: Whole = 0) -> None:
        super().__init__(deviation, pairs)
        self.reuse = reuse

    def _draws(self, age: float) -> bool:
        return age == 0 or 0 < self.reuse <= age
