"""Few-shot use of a rule that learned where a base network starts: adapt to a support set, then tell its queries."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from evaluation.evaluation import Judged
from evaluation.paired_tasks import NETWORK, PairedTask
from inner_loop.networks.description import BaseNetwork, network_from
from inner_loop.state import finite_tasks, stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from outer_loop.estimators.truncated_backprop import stacked_episodes
from outer_loop.readouts.objective import BATCH_NORMS, OBJECTIVES, Objective
from tasks.task import Episode
from update_rules.contract import SUPPORT, Rule, State
from update_rules.gradient.learned_start import LearnedStart, initial_weights
from update_rules.rule_file import RuleHeader


@dataclass(frozen=True)
class Adaptation:
    """The base network that a rule starts, how many inner steps it takes on a support set, and what reads it out.

    A network with a head gets as many logits as a task has ways: the first ones of the start. With ``random_start``
    each task has a start of its own drawn at random, which is what the rule's start is compared with.
    """

    network: BaseNetwork
    objective: Objective
    steps: int
    random_start: bool = False

    def judge(self, rule: Rule, group: Sequence[PairedTask], points: Sequence[int]) -> list[Judged]:
        """As the protocol of evaluation says, on the tasks' own episodes."""
        return self.judge_episodes(rule, group, [task.episode for task in group], points)

    def judge_episodes(
        self, rule: Rule, group: Sequence[PairedTask], episodes: Sequence[Episode], points: Sequence[int]
    ) -> list[Judged]:
        """Accuracies on the queries of ``episodes``, one a task, after each of ``points`` inner steps on its support.

        Raises ValueError for tasks that the rule's start does not fit.
        """
        ways = group[0].task.ways
        network = self._network(ways)
        if network.sizes[0] != group[0].task.inputs:
            raise ValueError(
                f"got tasks of {group[0].task.inputs} inputs, expected {network.sizes[0]} for this network"
            )
        theta = theta_of(rule)
        device = next(rule.parameters()).device
        start = stack_states([self._start(rule, network, task) for task in group])
        drawn = Episode(*(part.to(device) for part in stacked_episodes(episodes)))
        support = dict(zip(SUPPORT, drawn, strict=False))
        views = {name: support[name].expand(points[-1], *support[name].shape) for name in rule.consumes}
        with torch.no_grad():
            state = {name: value.to(device) for name, value in start.items()}
            reads = unroll(rule, theta, network, state, views, read_points=points)
            return [
                Judged(
                    self.objective.read_tasks(rule, theta, network, read, drawn, ways).accuracy.tolist(),
                    int((~finite_tasks(read)).sum()),
                )
                for read in reads
            ]

    def classify(self, rule: Rule, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """The classes [Q] of ``query_x`` [Q, D] after all inner steps on ``support_x`` [S, D] of classes ``support_y``.

        Raises ValueError for more ways, or other inputs, than those of the rule's start.
        """
        ways = int(support_y.max()) + 1
        network = self._network(ways)
        theta = theta_of(rule)
        support = dict(zip(SUPPORT, (support_x, support_y), strict=True))
        views = {name: support[name].expand(self.steps, 1, *support[name].shape) for name in rule.consumes}
        with torch.no_grad():
            start = stack_states([rule.init_state(network, torch.Generator())])
            state = unroll(rule, theta, network, start, views, read_points=[self.steps])[-1]
            seen = (support_x, support_y, query_x)
            return self.objective.scores(rule, theta, network, unstack_state(state)[0], seen, ways).argmax(1)

    def _network(self, ways: int) -> BaseNetwork:
        """The network for tasks of ``ways`` classes."""
        return self.network.with_outputs(ways) if self.objective.name == "head" else self.network

    def _start(self, rule: Rule, network: BaseNetwork, task: PairedTask) -> State:
        generator = task.generator(NETWORK)
        state = rule.init_state(network, generator)
        if not self.random_start or not isinstance(rule, LearnedStart):
            return state
        with torch.no_grad():
            started = rule.started(network)
        drawn = initial_weights(network.shapes, generator)
        return state | {name: value - started[name].cpu() for name, value in drawn.items()}

    def from_random(self) -> "Adaptation":
        """The same from random starts."""
        return replace(self, random_start=True)

    def prototypes(self) -> "Adaptation":
        """The network below its head, if it has one, read out by the means of classes without any step.

        It need not be the rule's own: running averages, which only that has, give way to the support set's statistics.
        """
        network = self.network.encoder() if self.objective.name == "head" else self.network
        return Adaptation(network, replace(self.objective.without_averages("support"), name="prototypes"), steps=0)


def trained_use(header: RuleHeader, path: str | Path, steps: int, batch_norm: str | None) -> Adaptation:
    """What the rule was trained for, as its file says. Raises ValueError for a file that does not."""
    try:
        network: BaseNetwork = network_from(json.loads(header.provenance["network"]))
        name, trained_with = header.provenance["objective"], header.provenance["batch_norm"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"rule file {path}: does not say which network it starts ({type(error).__name__}: {error}), expected a "
            "file that meta_train.py wrote"
        ) from None
    if name not in OBJECTIVES or trained_with not in BATCH_NORMS or "weights" not in header.config:
        raise ValueError(
            f"rule file {path}: rule {header.rule}, expected one that learned the start of a network, maml or "
            "protonet; evaluate.py judges the others"
        )
    policy = batch_norm or trained_with
    if policy == "running" and not header.config.get("running"):
        raise ValueError(
            f"rule file {path}: trained with batch_norm={trained_with}, holds no running averages; expected batch or "
            "support"
        )
    return Adaptation(network, Objective(name, batch_norm=policy), steps)
