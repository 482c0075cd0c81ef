"""Self-critique and adapt (SCA): after steps on labelled examples, steps on a loss of the queries without labels.

Antoniou and Storkey (2019): θ holds MAML++ and a critic, whose judgement of the predictions is what the last inner
steps descend along. Two things differ from their code: predictions are made anew at every critic step, and critic steps
have rates of their own. The outer loss moves from before to after the critic by ``outer.anneal_reads``.
"""

from typing import ClassVar

import torch
from torch import nn

from update_rules.contract import SUPPORT, Phase, Problem, State, StepViews
from update_rules.gradient.losses import QUERIES, CrossEntropy, Loss
from update_rules.gradient.maml import Maml, mean_rates, moved
from update_rules.gradient.prediction_losses import PREDICTION_LOSSES, prediction_loss

SUPPORT_PHASE, CRITIC_PHASE = "support", "critic"

CRITICS = (*PREDICTION_LOSSES, "support")
"""What critic steps descend along: a loss of the queries' predictions, or support labels again."""


class SelfCritique(Maml):
    """MAML++, and ``critic_steps`` steps more, the last ones, on what ``critic`` (of CRITICS) makes of the queries.

    ``sees`` says what a critic sees besides predictions. ``critic_rate`` is the rate of its steps, whose derivatives
    are always of second order. Queries are normalised as where they are read out. The other options are MAML's.
    Raises ValueError as that, for another critic, a rate that is not positive, and fewer critic steps than none.
    """

    name = "sca"
    consumes: ClassVar[tuple[str, ...]] = (*SUPPORT, QUERIES)
    critic_rates: nn.Parameter | None

    def __init__(
        self,
        weights: str,
        rate: float = 0.4,
        learned_rates: bool = True,
        steps: int = 5,
        first_order: int = 0,
        seed: int = 0,
        adapt_normalisation: bool = False,
        per_step_normalisation: bool = False,
        critic: str = "critic",
        critic_steps: int = 1,
        critic_rate: float = 0.1,
        sees: tuple[str, ...] = ("predictions",),
    ) -> None:
        if critic not in CRITICS:
            raise ValueError(f"got critic {critic!r} for the sca rule, expected one of {', '.join(CRITICS)}")
        if critic_steps < 0:
            raise ValueError(f"got critic_steps {critic_steps} for the sca rule, expected 0 or more")
        super().__init__(
            weights, rate, learned_rates, steps, first_order, seed, adapt_normalisation, per_step_normalisation
        )
        self.check_positive("critic_rate", critic_rate)
        self.critic_steps, self.critic_rate = critic_steps, critic_rate
        self.critic_rates = self.initial_rates(critic_rate, critic_steps)
        self.critic: Loss = CrossEntropy()
        if critic != "support":
            self.critic = prediction_loss(critic, QUERIES, self.features_below_head, self.ways, seed, sees)

    def moments(self) -> int:
        """Inner steps of both kinds, and one for the end."""
        return super().moments() + int(self.config["critic_steps"])

    def init_state(self, problem: Problem, generator: torch.Generator) -> State:
        """No change yet, and ``critic_t`` = 0 critic steps."""
        return super().init_state(problem, generator) | {"critic_t": torch.zeros(())}

    def phases(self, steps: int) -> list[Phase]:
        """Steps on labels, and at the end the critic's, of which fewer ``steps`` have fewer."""
        last = min(self.critic_steps, steps)
        critic = (*SUPPORT, QUERIES) if self.critic_steps else ()
        return [Phase(SUPPORT_PHASE, SUPPORT, steps - last), Phase(CRITIC_PHASE, critic, last)]

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        """One inner step, on the support set or on ``query_x`` [Q, D] besides."""
        if phase == SUPPORT_PHASE:
            return super().step(problem, state, views, phase)
        # Always of second order, or the critic would not learn.
        change = self.descend(problem, state, views, [(1.0, self.critic)], second_order=True)
        rates = self.rates_at(self.critic_rates, self.critic_rate, state["critic_t"])
        return state | moved(state, change, rates) | {"t": state["t"] + 1, "critic_t": state["critic_t"] + 1}

    def describe(self) -> dict[str, float]:
        """The mean rate of each step, where they are learned."""
        return super().describe() | ({} if self.critic_rates is None else mean_rates("critic_rate", self.critic_rates))
