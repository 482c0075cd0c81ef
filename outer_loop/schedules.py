"""What changes over the outer steps as the config says: Adam's rate, and what each read point counts."""

import math

from outer_loop.config.schema import Config


def outer_learning_rate(config: Config, outer_step: int) -> float:
    """Adam's rate for the 1-based ``outer_step``: a linear rise over the warm-up, then a cosine to the final rate."""
    outer = config.outer
    if outer_step <= outer.warmup:
        return outer.learning_rate * outer_step / outer.warmup
    share = (outer_step - outer.warmup) / max(1, config.outer_steps - outer.warmup)
    height = (1 + math.cos(math.pi * min(1.0, share))) / 2
    return outer.final_learning_rate + (outer.learning_rate - outer.final_learning_rate) * height


def read_weights(config: Config, outer_step: int, reads: int) -> tuple[float, ...] | None:
    """What each of ``reads`` read points counts in the 0-based ``outer_step``; None where all count alike.

    The multi-step loss of Antoniou et al. (2019), section 4: from all alike to the last one alone, linearly.
    """
    if not config.outer.anneal_reads or reads == 1:
        return None
    others = max(0.0, 1 - outer_step / config.outer.anneal_reads) / reads
    return (*[others] * (reads - 1), 1 - others * (reads - 1))
