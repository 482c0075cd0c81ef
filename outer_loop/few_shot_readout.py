"""The readout that every method is judged by: ridge classification of fixed features, tuned on the support set."""

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from torch import Tensor

READOUT = "ridge"
"""The name of this readout in results."""

PENALTIES: NDArray[np.float64] = np.logspace(-3, 5, 17)
"""What leave-one-out on the support set picks from, for features of unit rms."""


def few_shot_accuracy(support_x: Tensor, support_y: Tensor, query_x: Tensor, query_y: Tensor) -> float:
    """The share of queries [Q, N] that ridge classification, fitted to the support set [S, N], gets right.

    Features are centred by the support mean and divided by one number, the rms of the centred support features, so that
    the scale of a method's features does not matter; the penalty with the least leave-one-out error on the support set
    is used. Features that are not finite count as 0: a network that diverged guesses.
    """
    support, query = (np.nan_to_num(x.cpu().double().numpy(), posinf=0.0, neginf=0.0) for x in (support_x, query_x))
    mean = support.mean(0)
    rms = np.sqrt(np.mean((support - mean) ** 2))
    scale = rms if rms > 0 else 1.0
    readout = RidgeClassifierCV(alphas=PENALTIES).fit((support - mean) / scale, support_y.numpy())
    predicted = readout.predict((query - mean) / scale)
    return float(np.mean(predicted == query_y.numpy()))
