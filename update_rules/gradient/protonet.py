"""A learned encoder that is never trained on a task: prototypical networks (Snell et al., 2017)."""

from typing import Any

import torch
from torch import Tensor

from update_rules.contract import Network, Problem, State, Statistics, StepViews
from update_rules.gradient.learned_start import LearnedStart


class ProtoNet(LearnedStart):
    """The encoder is θ, of the shapes that ``weights`` states, drawn from ``seed``; its outputs are the features.

    Nothing is adapted: a State holds ``t`` alone. With ``running`` the averages of what batch normalisation met in
    meta-training, ``mean{l}`` and ``var{l}`` [N_l], are a part of θ. Raises ValueError for shapes that cannot be read.
    """

    name = "protonet"
    consumes = ()
    normalisations = LearnedStart.normalisations | {"running"}

    def __init__(self, weights: str, seed: int = 0, running: bool = False) -> None:
        super().__init__(weights, seed)
        layers = sorted(int(name[1:]) for name in self.start if name.startswith("w"))
        for layer in layers if running else []:
            units = self.start[f"w{layer}"].shape[-1]
            self.register_buffer(f"mean{layer}", torch.zeros(units))
            self.register_buffer(f"var{layer}", torch.ones(units))

    @classmethod
    def options_for(cls, problem: Problem, seed: int) -> dict[str, Any]:
        """``seed``, the shapes of the network, and averages where examples are normalised by them."""
        return super().options_for(problem, seed) | {"running": problem.normalisation == "running"}

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """``t`` = 0. Raises ValueError for a network of other shapes than the encoder."""
        self.check_shapes(problem.network)
        return {"t": torch.zeros(())}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """The same with ``t`` one higher."""
        return {"t": state["t"] + 1}

    def weights(self, network: Network, state: State) -> State:
        """The encoder's weights."""
        return self.started(network, state)

    def running(self) -> Statistics:
        """The running averages. Raises ValueError for a rule that was made without them."""
        if not self.config["running"]:
            raise ValueError("this protonet holds no running averages; train it with network.normalisation=running")
        return dict(self.named_buffers())

    def observed(self, problem: Problem, state: State, x: Tensor) -> State:
        """What the running averages meet in ``x`` [B, D]: mean and biased variance of every layer."""
        return dict(self.statistics(problem, state, x)) if self.config["running"] else {}
