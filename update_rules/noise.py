"""Inner steps draw no random numbers: resumed runs, several ranks and backward passes would meet other ones."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_noise(rule: str) -> Iterator[None]:
    """Raise ValueError where torch draws random numbers inside, as the step of the rule called ``rule`` must not."""
    before = torch.get_rng_state()
    message = f"rule {rule}: its step draws random numbers; draw them in init_state and keep them in the State"
    try:
        yield
    except RuntimeError as error:
        if "randomness" in str(error):  # vmap refuses to draw
            raise ValueError(message) from None
        raise
    if not torch.equal(before, torch.get_rng_state()):
        raise ValueError(message)
