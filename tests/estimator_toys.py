"""A rule of three numbers and parts of its trajectories, to hold estimators against plain loops."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from inner_loop.networks.mlp import MLP
from outer_loop.estimators.contract import TruncatedUnroll
from outer_loop.readouts.metz_objective import metz_objective
from tasks.task import Episode
from update_rules.contract import Problem, Rule, State, StepViews

WAYS = 3
RATE = 0.4


class Oja(Rule):
    """Hebbian learning with decay: three numbers, all of which bend the loss."""

    name = "oja"

    def __init__(self) -> None:
        super().__init__()
        self.config = {}
        self.rate = nn.Parameter(torch.tensor(RATE))
        self.mix = nn.Parameter(torch.tensor([0.8, -0.5]))

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        shapes = problem.network.shapes
        return {name: torch.randn(shape, generator=generator) / 2 for name, shape in shapes.items()}

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        x = views["unlabelled"]
        answers = problem.network.forward(state, x)
        w, y = state["w1"], answers.x[1]
        change = self.mix[0] * x.mT @ y / len(x) + self.mix[1] * w * (y * y).mean(0)
        return {**state, "w1": w + self.rate * change, "b1": state["b1"] + self.rate * y.mean(0)}


def unroll_of(
    rule: Rule,
    seed: int,
    sizes: tuple[int, ...] = (6, 5, 4),
    reads: tuple[int, ...] = (2, 4),
    weights: tuple[float, ...] | None = None,
    normalisation: str = "batch",
) -> TruncatedUnroll:
    """A trajectory's part in an outer step, in the middle of its way: all drawn from ``seed``."""
    draw = torch.Generator().manual_seed(seed)
    y = torch.arange(WAYS).repeat(4)

    def episode() -> Episode:
        x = torch.rand(2, len(y), sizes[0], generator=draw)
        return Episode(x[0], y, x[1], y)

    problem = Problem.of(MLP(sizes, "tanh"), ways=WAYS, normalisation=normalisation)
    start = rule.init_state(problem, draw)
    views = {"unlabelled": torch.rand(reads[-1], 8, sizes[0], generator=draw)}
    return TruncatedUnroll(problem, start, views, reads, tuple(episode() for _ in reads), WAYS, draw, weights)


def plain_loss(rule: Rule, weights: dict[str, Tensor], one: TruncatedUnroll) -> tuple[Tensor, State]:
    """Loss and last State as one would write them: a loop over steps, one task, no vmap, no recomputation."""
    state, losses = one.carried, []
    for step in range(1, one.read_points[-1] + 1):
        batch = one.views["unlabelled"][step - 1]
        state = functional_call(rule, weights, ("step", one.problem, state, {"unlabelled": batch}, "train"))
        if step in one.read_points:
            e = one.episodes[one.read_points.index(step)]
            both, frozen = torch.cat([e.support_x, e.query_x]), None
            if one.problem.normalisation == "unlabelled":
                frozen = functional_call(rule, weights, ("statistics", one.problem, state, batch))
            f = functional_call(rule, weights, ("features", one.problem, state, both, frozen))
            s = len(e.support_y)
            losses.append(metz_objective(f[:s], e.support_y, f[s:], e.query_y, WAYS, 0.1).loss)
    counts = one.read_weights or [1 / len(losses)] * len(losses)
    return sum(count * loss for count, loss in zip(counts, losses, strict=True)), state
