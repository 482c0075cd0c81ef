"""Other measures of clusterers than how near they come to references: order of points, and pairs told apart.

Shapes: N points, D dimensions.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score
from torch import Generator

from evaluation.clusterings import Method, clusters_told
from inner_loop.clustering import pair_logits, seen_rows
from tasks.data.reference_sets import ReferenceSet
from update_rules.clustering.points import Points, scaled
from update_rules.contract import Rule

PairMethod = Callable[[Points, int, Generator], NDArray[np.bool_]]
"""Points [N, D], how many clusters (0: nobody knows) and a random stream tell of every two if they belong together."""


def order_agreement(method: Method, one: ReferenceSet, generator: Generator, *, told: bool = True) -> float:
    """The adjusted Rand index between the partitions of a set in two orders, with the same random stream."""
    x, count = scaled(one.x), clusters_told(one.references[0], told)
    order = torch.randperm(len(x), generator=generator).numpy()
    start = generator.get_state()
    first = method(x, count, generator)
    generator.set_state(start)
    return float(adjusted_rand_score(first[order], method(x[order], count, generator)))


def pairs_right(method: PairMethod, one: ReferenceSet, generator: Generator, *, told: bool = True) -> float:
    """The share of pairs that are rightly said to belong together or not, by the first reference.

    Of sets that are larger than a rule sees at once, some points are looked at, the same by all methods.
    """
    labels = one.references[0]
    rows, count = seen_rows(len(labels), generator), clusters_told(labels, told)
    x, labels = scaled(one.x)[rows], labels[rows]
    right = method(x, count, generator) == (labels[:, None] == labels[None])
    known = labels >= 0
    counts = np.triu(known[:, None] & known[None], 1)
    return float(right[counts].mean())


def rule_pairs(rule: Rule, steps: int) -> PairMethod:
    """What ``rule`` says of pairs after ``steps`` inner steps: their logits."""

    def method(x: Points, clusters: int, generator: Generator) -> NDArray[np.bool_]:
        return pair_logits(rule, x, clusters, steps, generator) > 0

    return method


def partition_pairs(method: Method) -> PairMethod:
    """Pairs are together that ``method`` puts into one cluster."""

    def found(x: Points, clusters: int, generator: Generator) -> NDArray[np.bool_]:
        labels = method(x, clusters, generator)
        return labels[:, None] == labels[None]

    return found


def apart(x: Points, clusters: int, generator: Generator) -> NDArray[np.bool_]:
    """No two belong together: what is true of most pairs of most sets."""
    return np.zeros((len(x), len(x)), bool)
