"""Hand-written company for a rule: features that need no learned rule."""

from collections.abc import Callable, Iterable

import torch
from sklearn.decomposition import PCA
from torch import Tensor

from outer_loop.few_shot_readout import few_shot_accuracy
from outer_loop.paired_tasks import PairedTask

EXACT_PCA_INPUTS = 1000
"""Up to this width principal components come from an eigendecomposition, above it from a randomised one."""

Embedding = Callable[[PairedTask, Tensor], Tensor]
"""A task and examples [n, D] give features [n, N]."""


def raw(task: PairedTask, x: Tensor) -> Tensor:
    """The inputs ``x`` [n, D] themselves."""
    return x


def pca(task: PairedTask, x: Tensor, outputs: int) -> Tensor:
    """``x`` [n, D] along the first ``outputs`` principal components of the task's unlabelled examples, [n, N].

    N is lower where there are fewer inputs or examples. The examples are those that give the base networks' batch-norm
    statistics.
    """
    seen = task.unlabelled.numpy()
    exact = seen.shape[1] <= EXACT_PCA_INPUTS
    components = PCA(
        n_components=min(outputs, *seen.shape),
        svd_solver="covariance_eigh" if exact else "randomized",
        random_state=0,
    ).fit(seen)
    return torch.from_numpy(components.transform(x.numpy()))


def accuracies(embedding: Embedding, tasks: Iterable[PairedTask]) -> list[float]:
    """Few-shot accuracy of ``embedding`` on each of ``tasks``."""
    result = []
    for task in tasks:
        episode = task.episode
        both = embedding(task, torch.cat([episode.support_x, episode.query_x]))
        support, query = both.split([len(episode.support_x), len(episode.query_x)])
        result.append(few_shot_accuracy(support, episode.support_y, query, episode.query_y))
    return result
