"""The probes that every method is judged by: classifiers on fixed features, tuned on the support set alone."""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor

READOUT = "ridge"
"""The probe that is used where no other is named."""

OWN = "own"
"""What results call the readout that a method brings itself."""

PENALTIES: NDArray[np.float64] = np.logspace(-3, 5, 17)
"""What leave-one-out on the support set picks from, for features of unit rms."""

ONE_LABEL_PENALTY = 10.0
"""That of classes with one example; chosen on validation data of glyphs and strokes.

Leave-one-out would always take the largest, by which long features win.
"""

INVERSE_PENALTIES = (0.01, 0.1, 1.0)
"""What cross-validation picks C from in logistic regression, for features of unit rms; 0.1 where it cannot be done."""

NEIGHBOURS, ROUNDS = 7, 100
"""Of label spreading: how many an example passes its label to at most, itself among them, and how often."""

FOLDS = 2
"""Parts of the support set in that cross-validation."""

Classify = Callable[[Tensor, Tensor, Tensor], Tensor]
"""A support set [S, N], its classes [S] and queries [Q, N] give the queries' classes [Q]."""

Array = NDArray[np.float64]
Probe = Callable[[Array, Array, Array], Array]
"""The same for features of unit rms."""


def ridge(support: Array, classes: Array, query: Array) -> Array:
    """Ridge classification with the penalty of least leave-one-out error.

    It is ONE_LABEL_PENALTY where a class has one example, which says nothing when it is left out.
    """
    if np.unique(classes, return_counts=True)[1].min() < FOLDS:
        return RidgeClassifier(alpha=ONE_LABEL_PENALTY).fit(support, classes).predict(query)
    return RidgeClassifierCV(alphas=PENALTIES).fit(support, classes).predict(query)


def logistic(support: Array, classes: Array, query: Array) -> Array:
    """Multinomial logistic regression with C by cross-validation; C = 0.1 where a class has too few examples for it."""
    readout = LogisticRegression(C=0.1, max_iter=1000, tol=1e-3)
    if np.unique(classes, return_counts=True)[1].min() >= FOLDS:
        folds = StratifiedKFold(FOLDS)
        readout = GridSearchCV(readout, {"C": INVERSE_PENALTIES}, scoring="neg_log_loss", cv=folds)
    return readout.fit(support, classes).predict(query)


def prototype(support: Array, classes: Array, query: Array) -> Array:
    """The class whose mean support features are nearest."""
    labels = np.unique(classes)
    means = np.stack([support[classes == label].mean(0) for label in labels])
    return labels[((query[:, None] - means) ** 2).sum(-1).argmin(1)]


def nearest(support: Array, classes: Array, query: Array) -> Array:
    """The class of the nearest support example."""
    return classes[((query[:, None] - support) ** 2).sum(-1).argmin(1)]


def spreading(support: Array, classes: Array, query: Array) -> Array:
    """Labels spread over nearest neighbours, queries among them (Zhou et al., 2004): transductive.

    A query that no label reaches has the class of the nearest support example.
    """
    seen = np.concatenate([support, query])
    known = np.concatenate([classes, np.full(len(query), -1)])
    neighbours = max(2, min(NEIGHBOURS, len(seen) // len(np.unique(classes))))
    readout = LabelSpreading(kernel="knn", n_neighbors=neighbours, max_iter=ROUNDS)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        readout.fit(seen, known)
    shares = readout.label_distributions_[len(support) :]
    reached = np.isfinite(shares).all(1) & (shares.sum(1) > 0)
    told = readout.classes_[np.nan_to_num(shares).argmax(1)]
    return np.where(reached, told, nearest(support, classes, query))


PROBES: dict[str, Probe] = {
    READOUT: ridge,
    "logistic": logistic,
    "prototype": prototype,
    "nearest": nearest,
    "spreading": spreading,
}


def as_classifier(probe: str) -> Classify:
    """The ``probe``, fitted to the features [S, N] of a support set and its classes.

    Features are centred by the support mean and divided by one number, the rms of the centred support features, so that
    the scale of a method's features does not matter. Features that are not finite count as 0: a network that diverged
    guesses. Raises KeyError for a name that is not in PROBES.
    """
    fit_and_predict = PROBES[probe]

    def classify(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support, query = (np.nan_to_num(x.cpu().double().numpy(), posinf=0.0, neginf=0.0) for x in (support_x, query_x))
        mean = support.mean(0)
        rms = np.sqrt(np.mean((support - mean) ** 2))
        scale = rms if rms > 0 else 1.0
        return torch.from_numpy(fit_and_predict((support - mean) / scale, support_y.numpy(), (query - mean) / scale))

    return classify


def accuracy(classify: Classify, support: Tensor, support_y: Tensor, query: Tensor, query_y: Tensor) -> float:
    """The share of queries [Q, N] that ``classify``, given a support set [S, N] and its classes, gets right."""
    return float((classify(support, support_y, query) == query_y).double().mean())
