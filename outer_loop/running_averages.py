"""Running averages of batch normalisation: what an outer step met, and a rule that follows it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from outer_loop.estimators.truncated_backprop import Piece
from update_rules.contract import Rule
from update_rules.gradient.protonet import ProtoNet

MOMENTUM = 0.1
"""What the statistics of one outer step count in the averages, as in torch's batch normalisation."""


def met_by(rule: Rule, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """The statistics of every layer on the examples that ``pieces`` are read out with, by the name of their average.

    Means over tasks, each of one batch of support and queries, in a forward pass of its own. Tasks whose statistics are
    not finite are left out; where no task is left it is the averages as they are. Nothing for a rule without them.
    """
    if not isinstance(rule, ProtoNet) or not rule.running:
        return {}
    with torch.no_grad():
        seen = [torch.cat([piece.episodes[-1].support_x, piece.episodes[-1].query_x]) for piece in pieces]
        found = [rule.batch_statistics(piece.network, x) for piece, x in zip(pieces, seen, strict=True)]
    finite = [met for met in found if all(bool(value.isfinite().all()) for value in met.values())]
    finite = finite or [dict(rule.named_buffers())]
    return {name: torch.stack([met[name] for met in finite]).mean(0) for name in finite[0]}


def follow(rule: Rule, met: Mapping[str, Tensor]) -> None:
    """Move the running averages of ``rule`` towards what was ``met``, by ``MOMENTUM`` of the way, in place."""
    for name, value in met.items():
        average = rule.get_buffer(name)
        average.lerp_(value.to(average.dtype), MOMENTUM)
