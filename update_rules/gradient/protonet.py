"""A learned encoder that is never trained on a task: prototypical networks (Snell et al., 2017)."""

import torch
from torch import Tensor

from update_rules.contract import Network, State, Statistics, Views
from update_rules.gradient.learned_start import LearnedStart


class ProtoNet(LearnedStart):
    """The encoder is θ, of the shapes that ``weights`` states, drawn from ``seed``; its outputs are the features.

    Nothing is adapted: a State holds ``t`` alone and an inner step but counts it. With ``running`` the buffers
    ``mean{l}`` and ``var{l}`` [N_l] are a part of θ, at first 0 and 1: the averages of what batch normalisation met in
    meta-training. Raises ValueError for shapes that cannot be read.
    """

    name = "protonet"
    consumes = ()

    def __init__(self, weights: str, seed: int = 0, running: bool = False) -> None:
        super().__init__(weights, seed)
        self.config = {"weights": weights, "seed": seed, "running": running}
        self.running = running
        self.layers = sorted(int(name[1:]) for name in self.start if name.startswith("w"))
        for layer in self.layers if running else []:
            units = self.start[f"w{layer}"].shape[-1]
            self.register_buffer(f"mean{layer}", torch.zeros(units))
            self.register_buffer(f"var{layer}", torch.ones(units))

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

    def averaged_features(self, network: Network, x: Tensor) -> Tensor:
        """The network's output [B, N_L] for ``x`` [B, D], normalised by the running averages: each example's alone.

        Raises KeyError for a rule that was made without them.
        """
        averages = dict(self.named_buffers())
        statistics = [(averages[f"mean{layer}"], averages[f"var{layer}"]) for layer in self.layers]
        return self.output(network.forward(self.started(network), x, statistics))

    def batch_statistics(self, network: Network, x: Tensor) -> dict[str, Tensor]:
        """What the running averages meet in a batch ``x`` [B, D], by name: mean and biased variance of every layer."""
        found: Statistics = network.statistics(self.started(network), x)
        means = {f"mean{layer}": mean for layer, (mean, _) in enumerate(found, start=1)}
        return means | {f"var{layer}": var for layer, (_, var) in enumerate(found, start=1)}
