"""A learned encoder that is never trained on a task: prototypical networks (Snell et al., 2017)."""

import torch

from update_rules.contract import Network, State, Views
from update_rules.learned_start import LearnedStart


class ProtoNet(LearnedStart):
    """The encoder is θ, of the shapes that ``weights`` states, drawn from ``seed``; its outputs are the features.

    Nothing is adapted: a State holds ``t`` alone and an inner step but counts it. Raises ValueError for shapes that
    cannot be read.
    """

    name = "protonet"
    consumes = ()

    def __init__(self, weights: str, seed: int = 0) -> None:
        super().__init__(weights, seed)
        self.config = {"weights": weights, "seed": seed}

    def init_state(self, network: Network, generator: torch.Generator) -> State:
        """``t`` = 0. Raises ValueError for a network of other shapes than the encoder."""
        self.check_shapes(network)
        return {"t": torch.zeros(())}

    def step(self, network: Network, state: State, views: Views) -> State:
        """The same with ``t`` one higher."""
        return {"t": state["t"] + 1}

    def weights(self, network: Network, state: State) -> State:
        """The encoder's weights."""
        return self.started(network)
