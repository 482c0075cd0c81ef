"""Applying a rule that clusters to the points of one set: inner steps without gradients, then a partition.

Shapes: N points, D dimensions.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Generator

from inner_loop.state import stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from update_rules.clustering.points import Labels, Points, nearest, scaled
from update_rules.contract import Problem, Rule

MOST = 500
"""Points that a rule sees at once; the others of a larger set join the cluster of the nearest of these."""


class Clustering(NamedTuple):
    """A partition of N points, and why it is that one."""

    labels: Labels
    reason: str


def cluster(rule: Rule, x: Points, clusters: int, steps: int, generator: Generator) -> Clustering:
    """The cluster [N] of each of the points ``x`` [N, D], N of 2 or more, after ``steps`` inner steps of ``rule``.

    ``clusters`` is how many there are, 0 where the rule is to find that out. Raises ValueError for a rule of others
    than whole sets.
    """
    if rule.gives != "outputs":
        raise ValueError(f"rule {rule.name} gives {rule.gives}, expected one that clusters, which gives outputs")
    x = scaled(x)
    rows = np.arange(len(x))
    if len(x) > MOST:
        rows = np.sort(torch.randperm(len(x), generator=generator)[:MOST].numpy())
    seen = torch.from_numpy(x[rows]).float()
    problem = Problem(x.shape[1], None, min(clusters, len(rows)), views=(("query_x", tuple(seen.shape)),))
    start = stack_states([rule.init_state(problem, generator)])
    views = {"query_x": seen.expand(steps, 1, *seen.shape)}
    with torch.no_grad():
        (state,) = unstack_state(unroll(rule, theta_of(rule), problem, start, views, read_points=[steps])[-1])
        found, reason = rule.partition(problem, state).numpy(), rule.reason(problem, state)
    return Clustering(found if len(rows) == len(x) else nearest(x[rows], found, x), reason)
