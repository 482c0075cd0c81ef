"""``marginal_ridge``: cross-entropy of ridge scores, with penalty and temperature marginalised over a grid.

It is near what evaluation measures: features on one scale, and a penalty that fits the task. Shapes: S support and Q
query examples, N features, C ways, G settings.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from common.checked import Rates
from outer_loop.readouts.contract import Readout

LEAST = 1e-8
"""The mean square of features that are still brought to one scale: dead ones have no gradient to speak of."""


class MarginalRidge(Readout):
    """A mixture of ridge classifiers, each weighted by its likelihood of support examples that it was not fitted to.

    A setting is one of the ``penalties`` on the squared weights, and one of the ``temperatures`` that scores are
    divided by. Features are centred by the support set and divided by the rms of what is left. Fits to all support
    examples but one are in closed form. A class with one example cannot be told without it: settings count alike then.
    """

    judges = False

    def __init__(
        self, penalties: Rates = (0.1, 1.0, 10.0, 100.0, 1000.0), temperatures: Rates = (0.03, 0.1, 0.3)
    ) -> None:
        self.penalties, self.temperatures = penalties, temperatures

    def scores(self, support: Tensor | None, y_support: Tensor, query: Tensor, ways: int) -> Tensor:
        """The log-probabilities [Q, C] of the mixture."""
        assert support is not None
        mean = support.mean(0)
        scale = (support - mean).square().mean().clamp_min(LEAST).rsqrt()
        x, queries = (support - mean) * scale, (query - mean) * scale
        y = (y_support[:, None] == torch.arange(ways, device=y_support.device)).to(x.dtype)
        prior = y.mean(0)
        fit = self._fits(x)  # [G, N, S]
        weights = fit @ (y - prior)
        told, left_out = queries @ weights + prior, None
        if len(x) > ways:
            residual = y - (x @ weights + prior)
            leverage = (x * fit.transpose(-1, -2)).sum(-1) + 1 / len(x)
            left_out = self._log_probabilities(y - residual / (1 - leverage)[..., None])
        settings = self._log_probabilities(told)
        if left_out is None:
            return settings.logsumexp(0) - torch.tensor(float(len(settings)), dtype=x.dtype).log()
        likelihood = (left_out * y).sum((-1, -2))
        return (settings + likelihood.log_softmax(0)[:, None, None]).logsumexp(0)

    def _fits(self, x: Tensor) -> Tensor:
        """By penalty what maps targets to weights, [G, N, S]; in the smaller of the two dimensions."""
        dual = len(x) < x.shape[1]
        gram = x @ x.T if dual else x.T @ x
        penalties = torch.tensor(self.penalties, dtype=x.dtype, device=x.device)[:, None, None]
        factor, failed = torch.linalg.cholesky_ex(
            gram + penalties * torch.eye(len(gram), dtype=x.dtype, device=x.device)
        )
        identity = torch.eye(len(x), dtype=x.dtype, device=x.device) if dual else x.T
        solved = torch.cholesky_solve(identity.expand(len(penalties), *identity.shape), factor)
        fits = x.T @ solved if dual else solved
        return torch.where(failed[:, None, None] == 0, fits, torch.full_like(fits, torch.nan))

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        """Of ``scores`` [P, B, C], by penalty, those of every setting, [G, B, C]."""
        temperatures = torch.tensor(self.temperatures, dtype=scores.dtype, device=scores.device)[:, None, None, None]
        return F.log_softmax(scores / temperatures, -1).flatten(0, 1)
