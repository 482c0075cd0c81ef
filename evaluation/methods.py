"""The methods of a comparison by name."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.names import did_you_mean
from evaluation.baselines.autoencoders import Autoencoder, Vae
from evaluation.baselines.closed_form import (
    Centroids,
    Discriminants,
    Landmarks,
    PrincipalComponents,
    RandomNetwork,
    Raw,
)
from evaluation.baselines.contrastive import Contrastive
from evaluation.baselines.settings import BaselineSettings
from evaluation.baselines.supervised import Supervised
from evaluation.evaluation import InnerTraining, base_network, frozen_embedding, train_networks, untrained
from evaluation.method import Embed, Method
from evaluation.paired_tasks import PairedTask
from inner_loop.state import unstack_state
from tasks.task import Episode
from update_rules.contract import Rule
from update_rules.local.local_terms import unit_rms_state

MEANING = {
    "rule": "the meta-trained rule",
    "untrained_rule": "the same rule at its initial weights",
    "random_network": "the base network before the first inner step",
    "raw": "the inputs themselves",
    "pca": "principal components of the inputs, as many as the network has outputs",
    "pca_whitened": "the same, divided by their spread",
    "kmeans": "distances to k-means centroids, as many as the network has outputs",
    "landmarks": "principal components of how near an example is to the nearest of many k-means centroids",
    "discriminants": "linear discriminants of k-means clusters, as many as the network has outputs",
    "autoencoder": "the base network trained to reconstruct its inputs",
    "vae": "the same as a variational autoencoder",
    "contrastive": "the base network trained to match examples with corrupted copies",
    "supervised": "the base network trained on the labels of the support set",
}
"""What each method is, in the order of tables."""

BASELINES = tuple(name for name in MEANING if name != "rule")
"""What a rule can be compared with."""

METHODS = ("rule", "untrained_rule", "random_network", "raw", "pca")
"""The rule and the baselines that cost next to nothing."""


@dataclass(frozen=True)
class RuleFeatures(Method):
    """The base network after ``points`` inner steps (rising) of ``rule``."""

    rule: Rule
    inner: InnerTraining
    points: tuple[int, ...]

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The points."""
        return self.points

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """A read after each of the points, in one long run."""
        network = base_network(tasks[0], self.inner)
        reads = train_networks(self.rule, network, tasks, self.inner.batch, self.points)
        return [
            [frozen_embedding(network, state, task) for state, task in zip(unstack_state(read), tasks, strict=True)]
            for read in reads
        ]


def make_methods(
    names: Iterable[str],
    inner: InnerTraining,
    settings: BaselineSettings,
    rule: Rule | None = None,
    points: Sequence[int] | None = None,
) -> dict[str, Method]:
    """The methods ``names`` for base networks as ``inner`` states; rules are read at ``points`` or after all steps.

    Raises ValueError for an unknown name, and for ``rule`` and ``untrained_rule`` where no ``rule`` is given.
    """
    return {name: _make(name, inner, settings, rule, tuple(points or (inner.steps,))) for name in names}


def _make(
    name: str, inner: InnerTraining, settings: BaselineSettings, rule: Rule | None, points: tuple[int, ...]
) -> Method:
    if name in ("rule", "untrained_rule"):
        if rule is None:
            raise ValueError(f"got method {name} without a rule, expected a rule file")
        return RuleFeatures(rule if name == "rule" else untrained(rule), inner, points)
    if name == "random_network":
        return RandomNetwork(inner, unit_rms_state if rule is None else rule.init_state)
    if name == "raw":
        return Raw()
    if name == "pca":
        return PrincipalComponents(inner.outputs)
    if name == "pca_whitened":
        return PrincipalComponents(inner.outputs, settings.pca_whitened)
    if name == "kmeans":
        return Centroids(inner.outputs, settings.kmeans)
    if name == "landmarks":
        return Landmarks(inner.outputs, settings.landmarks)
    if name == "discriminants":
        return Discriminants(inner.outputs, settings.discriminants)
    if name == "autoencoder":
        return Autoencoder(inner, settings.autoencoder)
    if name == "vae":
        return Vae(inner, settings.vae)
    if name == "contrastive":
        return Contrastive(inner, settings.contrastive)
    if name == "supervised":
        return Supervised(inner, settings.supervised)
    raise ValueError(f"unknown method {name!r}, expected {', '.join(MEANING)}{did_you_mean(name, list(MEANING))}")
