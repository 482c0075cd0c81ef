"""The methods of a comparison by name: rules, what they are before their training, and hand-written baselines."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.names import did_you_mean
from common.tensor_file import file_header
from evaluation.baselines.autoencoders import Autoencoder, Vae
from evaluation.baselines.closed_form import discriminants, kmeans, landmarks, principal_components, random_network
from evaluation.baselines.contrastive import Contrastive
from evaluation.baselines.settings import BaselineSettings
from evaluation.baselines.supervised import Supervised
from evaluation.encoders.encoder_file import FORMAT as ENCODER_FORMAT
from evaluation.encoders.encoder_file import load_encoder
from evaluation.method import Embed, Fitted, Method, TaskByTask
from evaluation.paired_tasks import PairedTask
from evaluation.probes import OWN, PROBES, Classify
from evaluation.protocol import Use
from evaluation.rules import BeforeSteps, untrained_method
from inner_loop.network_file import load_network
from inner_loop.networks.mlp import MLPs
from tasks.task import Episode
from update_rules.contract import Rule


@dataclass(frozen=True)
class Company:
    """What a baseline is made from: how a rule is used, and settings of hand-written methods."""

    use: Use
    settings: BaselineSettings
    rule: Rule | None
    points: tuple[int, ...]

    @property
    def outputs(self) -> int:
        """As many features as a dense base network has, or usually has."""
        return int(getattr(self.use.network, "outputs", MLPs.outputs))


def _random_network(of: Company) -> Method:
    if of.rule is None:
        return TaskByTask(lambda task: random_network(task, of.use))
    return BeforeSteps(of.rule, of.use)


def _untrained(of: Company) -> Method:
    if of.rule is None:
        raise ValueError("got untrained_rule without a rule, expected the rule whose untrained self it is")
    return untrained_method(of.rule, of.use, of.points)


CENTROIDS, SEEN = 512, 4000
"""Of ``kmeans_512``: centroids, and examples of the pool that they are of at most."""

BASELINES: dict[str, tuple[str, Callable[[Company], Method]]] = {
    "untrained_rule": ("the same rule at its initial weights", _untrained),
    "random_network": ("the base network at random weights, before any inner step", _random_network),
    "raw": ("the inputs themselves", lambda of: TaskByTask(lambda task: torch.clone)),
    "pca": (
        "principal components of the inputs, as many as the network has outputs",
        lambda of: TaskByTask(lambda task: principal_components(task, of.outputs)),
    ),
    "pca_whitened": (
        "the same, divided by their spread",
        lambda of: TaskByTask(lambda task: principal_components(task, of.outputs, of.settings.pca_whitened)),
    ),
    "kmeans": (
        "distances to k-means centroids, as many as the network has outputs",
        lambda of: TaskByTask(lambda task: kmeans(task, of.outputs, of.settings.kmeans)),
    ),
    "kmeans_512": (
        f"distances to {CENTROIDS} k-means centroids, as Coates and Ng (2012) take many",
        lambda of: TaskByTask(lambda task: kmeans(task, CENTROIDS, replace(of.settings.kmeans, examples=SEEN))),
    ),
    "landmarks": (
        "principal components of how near an example is to the nearest of many k-means centroids",
        lambda of: TaskByTask(lambda task: landmarks(task, of.outputs, of.settings.landmarks)),
    ),
    "discriminants": (
        "linear discriminants of k-means clusters, as many as the network has outputs",
        lambda of: TaskByTask(lambda task: discriminants(task, of.outputs, of.settings.discriminants)),
    ),
    "autoencoder": (
        "the base network trained to reconstruct its inputs",
        lambda of: Autoencoder(of.use, of.settings.autoencoder),
    ),
    "vae": ("the same as a variational autoencoder", lambda of: Vae(of.use, of.settings.vae)),
    "contrastive": (
        "the base network trained to match examples with corrupted copies",
        lambda of: Contrastive(of.use, of.settings.contrastive),
    ),
    "supervised": (
        "the base network trained on the labels of the support set",
        lambda of: Supervised(of.use, of.settings.supervised),
    ),
}
"""What each baseline is, and what makes it, in the order of tables."""

CHEAP = ("untrained_rule", "random_network", "raw", "pca")
"""The baselines that cost next to nothing."""

CLASSIFIERS = ("nearest", "logistic", "prototype")
"""The probes by which the few-shot papers read features."""

CLASSIFIED = ("untrained_rule", *(f"raw_{probe}" for probe in CLASSIFIERS))
"""What a readout of a rule's own is compared with: that before training, and classifiers on the inputs."""


@dataclass(frozen=True)
class Classified(Method):
    """A ``method`` with the probe called ``probe`` as a readout of its own."""

    method: Method
    probe: str

    @property
    def reads(self) -> tuple[int | None, ...]:
        """Those of the method."""
        return self.method.reads

    @property
    def uses_episodes(self) -> bool:  # type: ignore[override]
        """As the method."""
        return self.method.uses_episodes

    def classifier(self, readout: str) -> Classify | None:
        """The probe, as its own readout and no other."""
        return self.method.classifier(self.probe) if readout == OWN else None

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """What the method makes."""
        return self.method.fit(tasks, episodes)


def fixed(embed: Embed) -> Method:
    """Features of a fixed encoder that no evaluation task trains; it sees inputs in the order of the data."""

    def in_order(task: PairedTask) -> Embed:
        place = torch.argsort(task.task.permutation)
        return lambda x: embed(x[:, place])

    return TaskByTask(in_order)


def load_embedding(path: str | Path, trust: Collection[str] = ()) -> Embed:
    """What an encoder's or a network's file embeds with. Raises as ``load_encoder`` and ``load_network`` do."""
    if file_header(path, "encoder").get("format") != ENCODER_FORMAT:
        return load_network(path, trust).embed
    encoder = load_encoder(path)

    def embed(x: Tensor) -> Tensor:
        try:
            return encoder.embed(x)
        except ValueError as error:
            raise ValueError(f"encoder {path}: {error}; --size sets the size of images") from None

    return embed


def make_baselines(names: Iterable[str], of: Company, encoders: Mapping[str, Embed] | None = None) -> dict[str, Method]:
    """The baselines ``names``; NAME_PROBE is one read by that probe. Raises ValueError for an unknown name."""
    return {name: _make(name, of, encoders or {}) for name in names}


def _make(name: str, of: Company, encoders: Mapping[str, Embed]) -> Method:
    if name in encoders:
        return fixed(encoders[name])
    if name in BASELINES:
        return BASELINES[name][1](of)
    features, _, probe = name.rpartition("_")
    if probe in PROBES and (features in BASELINES or features in encoders):
        return Classified(_make(features, of, encoders), probe)
    raise ValueError(
        f"unknown baseline {name!r}, expected {', '.join([*BASELINES, *encoders])}"
        f"{did_you_mean(name, list(BASELINES))}, or one of them with _PROBE behind it, of {', '.join(PROBES)}"
    )


def meaning(name: str) -> str:
    """What the method called ``name`` is, for a reader of a report; empty for rules and encoders by name."""
    if name == "rule":
        return "the rule that validation found best, maybe the one before training"
    if name in BASELINES:
        return BASELINES[name][0]
    features, _, probe = name.rpartition("_")
    on = "the inputs" if features == "raw" else features
    return f"{PROBED[probe]} on {on}" if probe in PROBED else ""


PROBED = {
    "ridge": "ridge classification",
    "logistic": "logistic regression",
    "prototype": "the nearest class mean",
    "nearest": "the class of the nearest support example",
    "spreading": "label spreading over neighbours, queries together,",
}
"""What each probe tells."""
