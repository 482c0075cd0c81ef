"""Applying a rule that clusters to the points of one set: inner steps without gradients, then a partition.

Shapes: N points, D dimensions.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator

from inner_loop.state import stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from update_rules.clustering.points import Labels, Points, few_different, nearest, scaled
from update_rules.contract import OF_SETS, Problem, Rule, State

MOST = 500
"""Points that a rule sees at once; the others of a larger set join the cluster of the nearest of these."""


class Clustering(NamedTuple):
    """A partition of N points, and why it is that one."""

    labels: Labels
    reason: str


def cluster(rule: Rule, x: Points, clusters: int, steps: int, generator: Generator) -> Clustering:
    """The cluster [N] of each of the points ``x`` [N, D], N of 2 or more, after ``steps`` inner steps of ``rule``.

    ``clusters`` is how many there are, 0 where the rule is to find that out. Raises ValueError for a rule of others
    than whole sets, and for more clusters than a rule sees points.
    """
    if rule.gives not in OF_SETS:
        raise ValueError(f"rule {rule.name} gives {rule.gives}, expected one that clusters")
    if clusters > MOST:
        raise ValueError(f"got {clusters} clusters, expected at most {MOST}, as many as points are looked at")
    x = scaled(x)
    alone = few_different(x, clusters)
    if alone is not None:
        return Clustering(alone, f"points of {alone.max() + 1} kinds, all equal within")
    rows = seen_rows(len(x), generator)
    with torch.no_grad():
        problem, state = _stepped(rule, x[rows], clusters, steps, generator)
        found, reason = rule.partition(problem, state).numpy(), rule.reason(problem, state)
    if len(rows) < len(x):
        found = nearest(x[rows], found, x)
        reason += f"{'; ' if reason else ''}{MOST} rows were looked at, which the others joined"
    return Clustering(np.unique(found, return_inverse=True)[1], reason)


def pair_logits(rule: Rule, x: Points, clusters: int, steps: int, generator: Generator) -> Points:
    """The logits [N, N] that two of the points ``x`` [N, D], at most MOST, belong together. Arguments as ``cluster``.

    Raises ValueError for a rule that says nothing of pairs.
    """
    if rule.gives != "pairs":
        raise ValueError(f"rule {rule.name} gives {rule.gives}, expected one that gives logits of pairs")
    with torch.no_grad():
        logits: Points = rule.outputs(*_stepped(rule, scaled(x), clusters, steps, generator)).double().numpy()
    return logits


def seen_rows(points: int, generator: Generator) -> Labels:
    """Which rows of a set a rule sees: all of up to MOST, else so many of them."""
    if points <= MOST:
        return np.arange(points)
    return np.sort(torch.randperm(points, generator=generator)[:MOST].numpy())


def _stepped(rule: Rule, x: Points, clusters: int, steps: int, generator: Generator) -> tuple[Problem, State]:
    """The problem that the points ``x`` are, and the State after ``steps`` inner steps on them."""
    seen = torch.from_numpy(x).float()
    problem = Problem(x.shape[1], None, min(clusters, len(x)), views=(("query_x", tuple(seen.shape)),))
    start = stack_states([rule.init_state(problem, generator)])
    views = {"query_x": seen.expand(steps, 1, *seen.shape)}
    (state,) = unstack_state(unroll(rule, theta_of(rule), problem, start, views, read_points=[steps])[-1])
    return problem, state
