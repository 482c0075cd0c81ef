"""Hand-written company for a rule without gradients: each function makes features by what a task shows unlabelled."""

import numpy as np
import torch
from scipy.linalg import eigh
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor

from evaluation.baselines.networks import dense_network, frozen_embedding
from evaluation.baselines.settings import DiscriminantSettings, KMeansSettings, LandmarkSettings, WhiteningSettings
from evaluation.method import Embed
from evaluation.paired_tasks import BASELINE, NETWORK, PairedTask
from evaluation.protocol import Use
from inner_loop.networks.activations import winners
from update_rules.local.local_terms import unit_rms_state

EPS = 1e-6

EXACT_PCA_INPUTS = 1000
"""Up to this width principal components come from an eigendecomposition, above it from a randomised one."""


def principal_components(task: PairedTask, outputs: int, whitening: WhiteningSettings | None = None) -> Embed:
    """At most ``outputs`` principal components of the unlabelled examples, divided by their spread or not."""
    seen = task.unlabelled.numpy()
    exact = seen.shape[1] <= EXACT_PCA_INPUTS
    solver = "covariance_eigh" if exact else "randomized"
    components = PCA(n_components=min(outputs, *seen.shape), svd_solver=solver, random_state=0).fit(seen)
    spread = np.ones(components.n_components_)
    if whitening is not None:
        variance = components.explained_variance_
        spread = np.sqrt(variance + whitening.floor * variance.mean() + np.finfo(np.float32).tiny)
    return lambda x: torch.from_numpy(components.transform(x.numpy()) / spread)


def _clustered(task: PairedTask, centroids: int, examples: int) -> tuple[KMeans, np.ndarray]:
    """At most ``centroids`` k-means clusters of at most ``examples`` from the task's unlabelled pool, and these."""
    generator = task.generator(BASELINE)
    seen = task.task.unlabelled(generator, 1, min(len(task.task.seen), examples))[0].numpy()
    first = int(torch.randint(2**31, (), generator=generator))
    return KMeans(min(centroids, len(np.unique(seen, axis=0))), n_init=1, random_state=first).fit(seen), seen


def kmeans(task: PairedTask, outputs: int, settings: KMeansSettings) -> Embed:
    """Soft assignments to ``outputs`` k-means centroids of the task's unlabelled pool (Coates and Ng, 2012)."""
    found, _ = _clustered(task, outputs, settings.examples)

    def embed(x: Tensor) -> Tensor:
        distance = torch.from_numpy(found.transform(x.numpy()))
        if settings.features == "triangle":
            return torch.relu(distance.mean(1, keepdim=True) - distance)
        return -distance if settings.features == "distance" else -distance.square()

    return embed


def landmarks(task: PairedTask, outputs: int, settings: LandmarkSettings) -> Embed:
    """The first ``outputs`` principal components of how near an example is to the nearest of many centroids.

    Landmark-based spectral features (Chen and Cai, 2011, "Large scale spectral clustering with landmark-based
    representation", equations 4 to 7), with the kernel of the activation ``winners``: by how much a squared distance is
    below that of the first centroid that is not among the nearest, over the sum of these.
    """
    found, seen = _clustered(task, settings.landmarks, settings.examples)

    def nearness(x: np.ndarray) -> np.ndarray:
        return winners(torch.from_numpy(-np.square(found.transform(x))), settings.nearest).numpy()

    shares = nearness(seen)
    scale = 1 / np.sqrt(shares.mean(0) + EPS)
    components = PCA(min(outputs, *shares.shape), svd_solver="covariance_eigh").fit(shares * scale)
    return lambda x: torch.from_numpy(components.transform(nearness(x.numpy()) * scale))


def discriminants(task: PairedTask, outputs: int, settings: DiscriminantSettings) -> Embed:
    """The first ``outputs`` linear discriminants of k-means clusters (Ding and Li, 2007).

    "Adaptive dimension reduction using discriminant analysis and K-means clustering": projections with the largest
    variance over all examples for the variance within clusters, here one round of it with many clusters.
    """
    found, seen = _clustered(task, settings.clusters, settings.examples)
    mean = seen.mean(0)
    total, within = (
        np.atleast_2d(np.cov(x, rowvar=False, bias=True)) for x in (seen, seen - found.cluster_centers_[found.labels_])
    )
    inputs = len(total)
    floor = (settings.floor * np.trace(total) + EPS) / inputs
    largest = (max(0, inputs - outputs), inputs - 1)
    _, directions = eigh(total, within + floor * np.eye(inputs), subset_by_index=largest)
    first = directions[:, ::-1].astype(np.float32)
    return lambda x: torch.from_numpy((x.numpy() - mean) @ first)


def random_network(task: PairedTask, inner: Use) -> Embed:
    """The outputs of a base network of unit-rms columns that nothing has trained."""
    network = dense_network(task, inner)
    return frozen_embedding(network, unit_rms_state(network, task.generator(NETWORK)), task)
