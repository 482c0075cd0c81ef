"""Rules as scikit-learn clusterers: one that learned to cluster, and one that chooses a clusterer by experience."""

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from common.scaling import Standardise, check_standardise, scaling
from common.torch_defaults import usual_defaults
from inner_loop.clustering import cluster
from inner_loop.inner_settings import settings_of
from update_rules.clustering.points import nearest
from update_rules.contract import Rule
from update_rules.rule_file import read_rule

FLOATS = [np.float64, np.float32]
"""Dtypes taken as they are; anything else becomes the first of them."""


class RuleClusterer(ClusterMixin, BaseEstimator):
    """Clusters found by an update rule that was meta-trained to cluster.

    Parameters
    ----------
    n_clusters : int or None, default=None
        How many clusters there are; None lets the rule find out.
    rule : str, Path, Rule or None, default=None
        A rule file, the name of a pretrained rule, or a rule; None is the pretrained one of this class.
    standardise : bool or "auto", default="auto"
        Whether each column is brought to mean 0 and variance 1 first; "auto" does so unless columns seem to share a
        scale already (``common.scaling``).
    trust : sequence of str, default=()
        Modules of your own whose code the rule file may ask for.
    random_state : int, RandomState instance or None, default=None
        Seeds which rows a large set is clustered by, and what clusterers draw.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        The cluster of each row, from 0.
    reason_ : str
        What was done and why, where the rule says so.
    n_features_in_ : int
        Columns seen in ``fit``.
    """

    usual: ClassVar[str]
    """The pretrained rule of the class."""
    gives: ClassVar[str]
    """What its rules give."""

    def __init__(
        self,
        n_clusters: int | None = None,
        *,
        rule: str | Path | Rule | None = None,
        standardise: Standardise = "auto",
        trust: Sequence[str] = (),
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.rule = rule
        self.standardise = standardise
        self.trust = trust
        self.random_state = random_state

    @usual_defaults()
    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Cluster the rows of ``X`` [n, D], n >= 2; ``y`` is ignored.

        Raises ValueError for data that cannot be used and for more clusters than rows.
        """
        table = validate_data(self, X, dtype=FLOATS, ensure_min_samples=2).astype(np.float64)
        clusters = self.n_clusters
        whole = isinstance(clusters, Integral) and not isinstance(clusters, bool)
        if clusters is not None and not (whole and 1 <= clusters <= len(table)):
            raise ValueError(f"got n_clusters={clusters!r} for {len(table)} rows, expected None or 1 to {len(table)}")
        check_standardise(self.standardise)
        offset, scale = scaling(table, self.standardise)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rule, steps = self._rule()
        x = (table - offset) / scale
        if clusters == 1:
            self.labels_, self.reason_ = np.zeros(len(x), np.int64), "one cluster was asked for"
        else:
            found = cluster(rule, x, int(clusters or 0), steps, torch.Generator().manual_seed(seed))
            self.labels_, self.reason_ = found
        self._seen, self._offset, self._scale = x, offset, scale
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """The cluster of each row of ``X`` [n, D]: that of the nearest row seen in ``fit``."""
        check_is_fitted(self)
        table = validate_data(self, X, dtype=FLOATS, reset=False).astype(np.float64)
        return nearest(self._seen, self.labels_, (table - self._offset) / self._scale)

    def _rule(self) -> tuple[Rule, int]:
        if isinstance(self.rule, Rule):
            rule, steps = self.rule, 1
        else:
            rule, header = read_rule(self.usual if self.rule is None else self.rule, self.trust)
            steps = settings_of(header, {}).steps
        if rule.gives != self.gives:
            raise ValueError(f"rule {rule.name} gives {rule.gives}, which {type(self).__name__} does not take")
        return rule, steps


class LearnedClusterer(RuleClusterer):
    """Clusters found by a network that learned to cluster (``attention_clusterer``)."""

    usual = "attention_clusterer"
    gives = "pairs"


class ChosenClusterer(RuleClusterer):
    """The clusterer, of scikit-learn's, that experience with other tables promises most of (``chosen_clusterer``)."""

    usual = "chosen_clusterer"
    gives = "choices"
