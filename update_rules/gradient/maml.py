"""Gradient descent on a few labelled examples, from a learned start and maybe at learned rates: MAML and MAML++.

Finn et al. (2017), algorithm 1; the rest after Antoniou et al. (2019), section 4. θ' = θ − α ∇ L(θ) with L the
*mean* cross-entropy over the support examples. Code of others sums over examples or over classes: a rate α there is
α · S or α · ways here (S support examples). CACTUs' 0.05 is 0.25 for tasks of 5 ways, UMTRA's 0.01 is 0.05.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import grad

from update_rules.contract import SUPPORT, Activations, Network, Problem, State, StepViews
from update_rules.gradient.learned_start import LearnedStart, last_layer, normalising
from update_rules.gradient.losses import CrossEntropy, Loss, Seen

Term = tuple[Tensor | float, Loss]
"""A weight and what it weighs."""


class Maml(LearnedStart):
    """Gradient descent on the support cross-entropy of the network's own logits. θ: the start, and maybe the rates.

    ``weights`` are the shapes of the start, drawn from ``seed``; ``rate`` is the inner rate. With ``learned_rates``
    there is one for each layer and each of ``steps`` inner steps, which start there; further steps use the last ones.
    What scales and shifts a normalised layer stays as it starts unless inner steps ``adapt_normalisation``; with
    ``per_step_normalisation`` it has values of its own before the first and after each of ``steps`` inner steps.
    Normalisation in inner steps is by the support examples. In the ``pretraining`` outer steps at the start of
    meta-training nothing is adapted: with labels that stay (``fixed_instances``), and no outer steps beyond, that is a
    classifier which is fine-tuned in use, a control. The buffers ``adapting`` and ``second_order``, not written to
    files, say by their length, 1 or 0, whether inner steps are taken, and whether the meta-gradient goes through their
    gradients (reading a value would wait for the device). It does not in the ``first_order`` outer steps at the start
    of meta-training. Raises ValueError for shapes that cannot be read, a rate that is not positive, fewer steps than
    one, or a negative ``first_order`` or ``pretraining``.
    """

    name = "maml"
    consumes: ClassVar[tuple[str, ...]] = SUPPORT
    gives = "logits"
    earlier: ClassVar[Mapping[str, Any]] = {"adapt_normalisation": True}
    rates: nn.Parameter | None
    adapting: Tensor
    second_order: Tensor

    def __init__(
        self,
        weights: str,
        rate: float = 0.4,
        learned_rates: bool = False,
        steps: int = 5,
        first_order: int = 0,
        seed: int = 0,
        adapt_normalisation: bool = False,
        per_step_normalisation: bool = False,
        pretraining: int = 0,
    ) -> None:
        super().__init__(weights, seed)
        for option, value in (("rate", rate), ("steps", steps)):
            self.check_positive(option, value)
        for option, value in (("first_order", first_order), ("pretraining", pretraining)):
            if value < 0:
                raise ValueError(f"got {option} {value} for the {self.name} rule, expected 0 or more outer steps")
        self.first_order, self.pretraining, self.learned_rates = first_order, pretraining, learned_rates
        self.last_layer = last_layer(self.shapes)
        self.fixed: Collection[str] = () if adapt_normalisation else tuple(normalising(self.shapes))
        self.by_step = tuple(normalising(self.shapes)) if per_step_normalisation else ()
        for name in self.by_step:
            self.start[name] = nn.Parameter(self.start[name].detach().repeat(self.moments(), 1))
        self.support_loss = CrossEntropy()
        self.rate, self.rates = rate, self.initial_rates(rate, steps)
        for name in ("adapting", "second_order"):
            self.register_buffer(name, torch.zeros(1), persistent=False)

    @property
    def features_below_head(self) -> int:
        """N, the inputs of the last layer."""
        return self.shapes[f"w{self.last_layer}"][0]

    @property
    def ways(self) -> int:
        """Classes that the head tells apart."""
        return self.shapes[f"b{self.last_layer}"][0]

    def check_positive(self, option: str, value: float) -> None:
        """Raise ValueError for a ``value`` of an ``option`` that is not positive."""
        if not 0 < value < float("inf"):
            raise ValueError(f"got {option} {value} for the {self.name} rule, expected a positive number")

    def moments(self) -> int:
        """Inner steps that have parameters of their own, and one for the end."""
        return int(self.config["steps"]) + 1

    def initial_rates(self, rate: float, steps: int) -> nn.Parameter | None:
        """The learned rates [K, L] of ``steps`` steps, all ``rate``; None where none are learned."""
        if not self.learned_rates:
            return None
        return nn.Parameter(torch.full((steps, self.last_layer), float(rate)))

    def theta_at(self, outer_step: int) -> dict[str, Tensor]:
        """θ, without inner steps in the ``pretraining`` outer steps, without second derivatives in ``first_order``."""
        theta = super().theta_at(outer_step)
        for name, until in (("adapting", self.pretraining), ("second_order", self.first_order)):
            if outer_step < until:
                theta[name] = theta[name][:0]
        return theta

    def started(self, network: Network, state: State) -> State:
        """The weights that ``network`` starts from; of those that differ by step, the ones of its inner step."""
        if not self.by_step:
            return super().started(network, state)
        moment = state.get("t", torch.zeros(()))
        return {
            name: at(self.start[name], moment) if name in self.by_step else self.start[name][tuple(map(slice, shape))]
            for name, shape in network.shapes.items()
        }

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step on ``support_x`` [S, D] and ``support_y`` [S] in 0..ways-1."""
        if not len(self.adapting):
            return state | {"t": state["t"] + 1}
        change = self.descend(problem, state, views, self.terms(), second_order=len(self.second_order) > 0)
        rates = self.rates_at(self.rates, self.rate, state["t"])
        return state | moved(state, change, rates) | {"t": state["t"] + 1}

    def rates_at(self, learned: Tensor | None, rate: float, moment: Tensor) -> Tensor | list[float]:
        """The rates of the layers, [L]: of the ``learned`` ones [K, L] those of the step ``moment``, else ``rate``."""
        return [rate] * self.last_layer if learned is None else at(learned, moment)

    def terms(self) -> list[Term]:
        """What a step descends along."""
        return [(1.0, self.support_loss)]

    def descend(
        self, problem: Problem, state: State, views: StepViews, terms: Sequence[Term], *, second_order: bool
    ) -> State:
        """The gradient, in the State, of the weighted sum of ``terms`` of what the network makes of ``views``.

        Unless it is of ``second_order`` no meta-gradient goes through it.
        """
        if not terms:
            return {}
        started = self.started(problem.network, state)
        free = {name: state[name] for name in started if name in state}
        reads = [view for view in views if any(view in loss.reads for _, loss in terms)]

        def total(free: State) -> Tensor:
            weights = {name: start + free[name] if name in free else start for name, start in started.items()}
            seen = self.seen(problem, weights, views, reads)
            return torch.stack([weight * loss(seen, views) for weight, loss in terms]).sum()

        # Without second derivatives no graph is made of the gradients, which saves most of the backward pass.
        with torch.set_grad_enabled(torch.is_grad_enabled() and second_order):
            return grad(total)(free)

    def seen(self, problem: Problem, weights: State, views: StepViews, reads: Sequence[str]) -> dict[str, Seen]:
        """What the network makes of the views ``reads``: support examples by their own batch, others as read out."""
        x, network = SUPPORT[0], problem.network
        by_support = problem.normalisation == "support" and x in views
        passed = {x: network.forward(weights, views[x])} if by_support or x in reads else {}
        statistics = passed[x].statistics() if by_support else None
        found = {}
        for view in reads:
            activations = passed[view] if view in passed else network.forward(weights, views[view], statistics)
            found[view] = Seen(self.output(activations), activations.x[-2])
        return found

    def output(self, activations: Activations) -> Tensor:
        """The logits [B, ways]: the last layer before its activation."""
        return activations.z[-1]

    def describe(self) -> dict[str, float]:
        """The mean rate of each inner step, where they are learned."""
        return {} if self.rates is None else mean_rates("rate", self.rates)


def at(values: Tensor, moment: Tensor) -> Tensor:
    """Of ``values`` [K, ...] the one of the 0-based ``moment``, a scalar tensor; beyond the last one, that."""
    return values.index_select(0, moment.long().clamp(max=len(values) - 1).reshape(1))[0]


def moved(state: State, gradient: State, rates: Tensor | list[float]) -> State:
    """The weights of ``gradient`` in ``state`` after a step against it at ``rates`` [L], those of the layers."""
    return {name: state[name] - rates[int(name[1:]) - 1] * change for name, change in gradient.items()}


def mean_rates(name: str, rates: Tensor) -> dict[str, float]:
    """The mean over layers of ``rates`` [K, L], for each step from 1."""
    return {f"{name}/{step}": float(one.mean()) for step, one in enumerate(rates.detach(), start=1)}
