"""Ridge regression in closed form, as a differentiable readout."""

import torch
from torch import Tensor


def ridge_weights(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """The weights [F+1, C] that map ``features`` [B, F] to ``targets`` [B, C] with the least penalised squared error.

    Minimises Σ(features · W + b − targets)² + penalty · ΣW²; the last row of the result is the bias b, which is not
    penalised. Differentiable, and works under ``torch.func.vmap``. The dtype is that of the arguments. Where a feature
    is not finite or too large, the weights are NaN. Raises ValueError if ``penalty`` is not positive.

    A free bias makes the fitted plane pass through the means, so W solves the centred problem, whose matrix of size
    min(B, F) has no eigenvalue below the penalty: float32 can factorise it.
    """
    if not penalty > 0:
        raise ValueError(f"got ridge penalty {penalty}, expected a positive number")
    examples, units = features.shape
    feature_mean, target_mean = features.mean(0), targets.mean(0)
    a, y = features - feature_mean, targets - target_mean
    dual = examples < units
    gram = a @ a.T if dual else a.T @ a
    identity = torch.eye(min(examples, units), dtype=features.dtype, device=features.device)
    factor, failed = torch.linalg.cholesky_ex(gram + penalty * identity)
    solved = torch.cholesky_solve(y if dual else a.T @ y, factor)
    weights = a.T @ solved if dual else solved
    bias = target_mean - feature_mean @ weights
    solution = torch.cat([weights, bias[None]])
    return torch.where(failed == 0, solution, torch.full_like(solution, torch.nan))
