"""Hand-written company for a rule without gradients: inputs, components, centroids, random weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Generator, Tensor

from inner_loop.mlp import MLP
from outer_loop.baseline_settings import KMeansSettings, WhiteningSettings
from outer_loop.evaluation import InnerTraining, base_network, frozen_embedding
from outer_loop.method import Embed, Method
from outer_loop.paired_tasks import BASELINE, NETWORK, PairedTask
from tasks.task import Episode
from update_rules.contract import State

EXACT_PCA_INPUTS = 1000
"""Up to this width principal components come from an eigendecomposition, above it from a randomised one."""


class Raw(Method):
    """The inputs themselves."""

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """One read of identities."""
        return [[torch.clone for _ in tasks]]


@dataclass(frozen=True)
class PrincipalComponents(Method):
    """The first ``outputs`` principal components of the task's unlabelled examples, divided by their spread or not.

    There are fewer features where there are fewer inputs or examples. The examples are those that give the base
    networks' batch-norm statistics.
    """

    outputs: int
    whitening: WhiteningSettings | None = None

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """One read of projections."""
        return [[self._components(task.unlabelled.numpy()) for task in tasks]]

    def _components(self, seen: np.ndarray) -> Embed:
        exact = seen.shape[1] <= EXACT_PCA_INPUTS
        components = PCA(
            n_components=min(self.outputs, *seen.shape),
            svd_solver="covariance_eigh" if exact else "randomized",
            random_state=0,
        ).fit(seen)
        spread = np.ones(components.n_components_)
        if self.whitening is not None:
            variance = components.explained_variance_
            spread = np.sqrt(variance + self.whitening.floor * variance.mean() + np.finfo(np.float32).tiny)
        return lambda x: torch.from_numpy(components.transform(x.numpy()) / spread)


@dataclass(frozen=True)
class Centroids(Method):
    """Soft assignments to ``outputs`` k-means centroids of the task's unlabelled pool (Coates and Ng, 2012)."""

    outputs: int
    settings: KMeansSettings

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """One read of functions of the distances to the centroids."""
        return [[self._centroids(task) for task in tasks]]

    def _centroids(self, task: PairedTask) -> Embed:
        generator = task.generator(BASELINE)
        examples = min(len(task.task.pool), self.settings.examples)
        seen = task.task.unlabelled(generator, 1, examples)[0].numpy()
        first = int(torch.randint(2**31, (), generator=generator))
        centroids = min(self.outputs, len(np.unique(seen, axis=0)))
        found = KMeans(centroids, n_init=1, random_state=first).fit(seen)

        def embed(x: Tensor) -> Tensor:
            distance = torch.from_numpy(found.transform(x.numpy()))
            if self.settings.features == "triangle":
                return torch.relu(distance.mean(1, keepdim=True) - distance)
            return -distance if self.settings.features == "distance" else -distance.square()

        return embed


@dataclass(frozen=True)
class RandomNetwork(Method):
    """The base network before its first inner step, which ``init_state`` draws."""

    inner: InnerTraining
    init_state: Callable[[MLP, Generator], State]

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Embed]]:
        """One read of the network's outputs."""
        embeddings = []
        for task in tasks:
            network = base_network(task, self.inner)
            embeddings.append(frozen_embedding(network, self.init_state(network, task.generator(NETWORK)), task))
        return [embeddings]
