"""Semi-supervised MAML: inner steps that learn from examples without labels too, or from them alone.

Boney and Ilin (2018): θ' = θ − α ∇ (L(support) + L_ψ(unlabelled)), where L_ψ is a learned loss of what the network
makes of the unlabelled examples, or L_ψ alone where all tasks share their classes. θ and ψ are learned together. The
paper's loss is not published in detail; here it is the critic of SCA.
"""

from typing import ClassVar

import torch
from torch import nn

from update_rules.contract import SUPPORT, Phase
from update_rules.gradient.losses import UNLABELLED_SET, Loss
from update_rules.gradient.maml import Maml, Term
from update_rules.gradient.prediction_losses import PREDICTION_LOSSES, prediction_loss

LOSSES = (*PREDICTION_LOSSES, "none")
"""What is added for the unlabelled examples: a loss of their predictions, or nothing."""


class SemiSupervisedMaml(Maml):
    """MAML, whose every step adds ``loss`` (of LOSSES) of the examples of ``unlabelled_set``, with a learned weight.

    With ``labels`` off no step sees a label: tasks must have the same classes under the same labels. With no loss
    either, nothing is adapted. ``weight`` is where the weight of the loss starts; ``sees`` is that of a critic.
    Unlabelled examples are normalised as queries are when they are read out, or by themselves where no support set is
    seen. The other options are MAML's. Raises ValueError as that, for another loss, a weight that is not positive, and
    a loss that sees labels that are off.
    """

    name = "semi_supervised_maml"
    consumes: ClassVar[tuple[str, ...]] = (*SUPPORT, UNLABELLED_SET)

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
        loss: str = "critic",
        labels: bool = True,
        weight: float = 1.0,
        sees: tuple[str, ...] = ("predictions",),
    ) -> None:
        super().__init__(
            weights, rate, learned_rates, steps, first_order, seed, adapt_normalisation, per_step_normalisation
        )
        if loss not in LOSSES:
            raise ValueError(f"got loss {loss!r} for the {self.name} rule, expected one of {', '.join(LOSSES)}")
        if not labels and "task" in sees:
            raise ValueError(f"got a loss of the {self.name} rule that sees the task, expected labels for its classes")
        self.check_positive("weight", weight)
        self.views = (*(SUPPORT if labels else ()), *(() if loss == "none" else (UNLABELLED_SET,)))
        self.labels = labels
        self.unlabelled_loss: Loss | None = None
        self.loss_weight: nn.Parameter | None = None
        if loss != "none":
            width = self.features_below_head
            self.unlabelled_loss = prediction_loss(loss, UNLABELLED_SET, width, self.ways, seed, sees)
            self.loss_weight = nn.Parameter(torch.tensor(float(weight)))

    def phases(self, steps: int) -> list[Phase]:
        """All steps on labels, on unlabelled examples, or on both."""
        return [Phase("train", self.views, steps)]

    def terms(self) -> list[Term]:
        """The cross-entropy of labels, and the weighted loss of unlabelled examples."""
        terms = super().terms() if self.labels else []
        if self.unlabelled_loss is not None and self.loss_weight is not None:
            terms.append((self.loss_weight, self.unlabelled_loss))
        return terms

    def describe(self) -> dict[str, float]:
        """The mean rate of each step, and the weight."""
        return super().describe() | (
            {} if self.loss_weight is None else {"loss_weight": float(self.loss_weight.detach())}
        )
