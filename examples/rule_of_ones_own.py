# %% [markdown]
# A rule of your own: Oja's subspace rule, with a learned rate for each layer. Save it as `my_rules.py`:
#
#     python scripts/meta_train.py --config configs/quickstart.yaml rule=my_rules:Oja run_dir=runs/oja

# %%
import torch
from torch import nn

from unsupervised_update_rules import MLP, Problem, Rule, State, StepViews


class Oja(Rule):
    """Δw = rate · (⟨x yᵀ⟩ − w ⟨y yᵀ⟩): units come to span the principal components (Oja, 1989)."""

    def __init__(self, rate: float = 0.1, layers: int = 8) -> None:
        super().__init__()
        self.rates = nn.Parameter(torch.full((layers,), float(rate)))  # θ

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """Weights with columns of about unit length, and biases of 0."""
        state: State = {}
        for layer, (low, up) in enumerate(zip(problem.network.sizes, problem.network.sizes[1:]), start=1):
            state[f"w{layer}"] = torch.randn(low, up, generator=generator) / low**0.5
            state[f"b{layer}"] = torch.zeros(up)
        return state

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step on a batch without labels, [B, D]."""
        seen = problem.network.forward(state, views["unlabelled"])
        new = dict(state)
        for layer in range(1, len(problem.network.sizes)):
            x, y, w = seen.x[layer - 1], seen.z[layer], state[f"w{layer}"]
            new[f"w{layer}"] = w + self.rates[layer - 1] * (x.mT @ y - w @ (y.mT @ y)) / len(y)
        return new


# %% It keeps the contract: pure, differentiable in θ and in the state.
rule, problem = Oja(), Problem.of(MLP((9, 7, 5)))
draw = torch.Generator().manual_seed(0)
state = rule.init_state(problem, draw)
x = torch.rand(12, 9, generator=draw)
after = rule.step(problem, state, {"unlabelled": x}, "train")
loss = rule.features(problem, after, x).square().sum()
print("gradient of the rates:", torch.autograd.grad(loss, rule.rates)[0].numpy().round(3))
