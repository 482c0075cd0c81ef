"""A rule as a method of a comparison: what it makes of each task, read through the rule alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from evaluation.method import Fitted, Method
from evaluation.paired_tasks import NETWORK, PairedTask
from evaluation.probes import OWN, READOUT, Classify, as_classifier
from evaluation.protocol import Stream, Use, device_of
from inner_loop.state import stack_states, unstack_state
from inner_loop.unroll import theta_of, unroll
from outer_loop.readouts.contract import Learned
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.ridge import Ridge
from tasks.task import Episode
from tasks.views import VIEWS, at_each_step
from update_rules.contract import SUPPORT, UNLABELLED, Problem, Rule, Theta


def features_of(
    learned: Learned, use: Use, unlabelled: Tensor | None, support: Tensor, query: Tensor
) -> tuple[Tensor, Tensor]:
    """Features on the CPU of what a rule has learned of one task, by statistics of ``unlabelled`` [n, D] where some do.

    Those of ``support`` are none where the readout needs none.
    """
    device = device_of(learned.rule)
    seen = None if unlabelled is None else unlabelled.to(device)
    with torch.no_grad():
        of_support, of_query = Normalisation(use.normalisation).features(
            learned, support.to(device), query.to(device), seen, use.readout.needs_support
        )
    nothing = of_query.new_zeros(0, *of_query.shape[1:])
    return (nothing if of_support is None else of_support).cpu(), of_query.cpu()


def trained(read: Sequence[Learned], use: Use, tasks: Sequence[PairedTask]) -> list[Fitted]:
    """What was learned of each of ``tasks``, as ``use`` normalises it."""
    seen = [task.unlabelled if use.normalisation == "unlabelled" else None for task in tasks]
    return [partial(features_of, learned, use, some) for learned, some in zip(read, seen, strict=True)]


@dataclass(frozen=True)
class RuleMethod(Method):
    """What ``rule`` makes of a task in ``points`` inner steps (rising).

    With ``anew`` each task has an untrained θ of its own: for a rule whose θ is itself the start of a network.
    """

    rule: Rule
    use: Use
    points: tuple[int, ...]
    anew: bool = False

    @property
    def uses_episodes(self) -> bool:  # type: ignore[override]
        """Whether the rule consumes what belongs to an episode."""
        return any(VIEWS[view].fixed for view in self.rule.consumes)

    @property
    def reads(self) -> tuple[int | None, ...]:
        """The points."""
        return self.points

    def classifier(self, readout: str) -> Classify | None:
        """A probe; or the readout that the rule was trained for, for which the usual probe stands in if it cannot tell.

        No probe for a rule whose readout looks at no features of a support set.
        """
        if readout == OWN:
            return self.use.classify if self.use.own else as_classifier(READOUT)
        return super().classifier(readout) if self.use.readout.needs_support else None

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """A read after each of the points, in one long run."""
        return [trained(read, self.use, tasks) for read in self.learn(tasks, episodes)]

    def learn(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Learned]]:
        """For each of the points what the rule has learned of each of ``tasks``."""
        problem, device = self.use.problem(self.rule, tasks[0]), device_of(self.rule)
        thetas = [self._theta(task) for task in tasks]
        theta = {name: torch.stack([one[name] for one in thetas]) for name in thetas[0]} if self.anew else thetas[0]
        start = stack_states([self.rule.init_state(problem, task.generator(NETWORK)) for task in tasks])
        state = {name: value.to(device) for name, value in start.items()}
        steps, names = self.points[-1], self.rule.consumes
        fixed = [task.fixed_views(names, episode) for task, episode in zip(tasks, episodes, strict=True)]
        stacked = {name: torch.stack([one[name] for one in fixed]).to(device) for name in fixed[0]}
        views: dict[str, Sequence[Tensor] | Tensor] = {**at_each_step(stacked, steps)}
        if UNLABELLED in names:
            views[UNLABELLED] = Stream(tasks, self.use.batch, steps, device)
        with torch.no_grad():
            reads = unroll(self.rule, theta, problem, state, views, read_points=self.points, per_task=self.anew)
        return [
            [Learned(self.rule, own, problem, state) for own, state in zip(thetas, unstack_state(read), strict=True)]
            for read in reads
        ]

    def _theta(self, task: PairedTask) -> Theta:
        if not self.anew:
            return theta_of(self.rule)
        config = dict(self.rule.config)
        if "seed" in config:
            config["seed"] = int(torch.randint(2**31, (), generator=task.generator(NETWORK)))
        drawn = type(self.rule)(**config)
        return {name: value.to(device_of(self.rule)) for name, value in theta_of(drawn).items()}


def untrained_method(rule: Rule, use: Use, points: tuple[int, ...]) -> RuleMethod:
    """``rule`` before its training; where θ is the start of a network, from a random start of each task's own.

    There are no averages of meta-training then, for which the statistics of a support set stand in.
    """
    if use.normalisation == "running":
        use = replace(use, normalisation="support")
    untrained = type(rule)(**rule.config).to(device_of(rule))
    return RuleMethod(untrained, use, points, anew=rule.one_network)


@dataclass(frozen=True)
class BeforeSteps(Method):
    """The base network that ``rule`` trains, at random weights before any inner step, and below its head."""

    rule: Rule
    use: Use

    def fit(self, tasks: Sequence[PairedTask], episodes: Sequence[Episode]) -> list[list[Fitted]]:
        """One read."""
        use = replace(self.use, readout=Ridge())
        random = untrained_method(self.rule, use, (0,)) if self.rule.one_network else RuleMethod(self.rule, use, (0,))
        (read,) = random.learn(tasks, episodes)
        return [trained([_below_head(learned) for learned in read], random.use, tasks)]


def _below_head(learned: Learned) -> Learned:
    found = learned.rule.embedder(learned.problem)
    if found is None:
        return learned
    problem, state = found
    device = device_of(learned.rule)
    return replace(learned, problem=problem, state={name: value.to(device) for name, value in state.items()})


def classes_of(rule: Rule, use: Use, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """The classes [Q] of ``query_x`` [Q, D], after all inner steps on ``support_x`` [S, D] of classes ``support_y``.

    Raises ValueError for a rule that consumes more, has no readout of its own, or knows other ways or inputs.
    """
    if not use.own or any(view not in SUPPORT for view in rule.consumes):
        raise ValueError(f"rule {rule.name} is not one that tells classes from a support set alone")
    inputs, ways = support_x.shape[1], int(support_y.max()) + 1
    network = use.base_network(inputs, ways if rule.gives == "logits" else 0)
    problem = Problem(inputs, network, ways, normalisation=use.normalisation)
    support = dict(zip(SUPPORT, (support_x, support_y), strict=True))
    views = {name: support[name].expand(use.steps, 1, *support[name].shape) for name in rule.consumes}
    with torch.no_grad():
        start = stack_states([rule.init_state(problem, torch.Generator())])
        state = unroll(rule, theta_of(rule), problem, start, views, read_points=[use.steps])[-1]
    learned = Learned(rule, theta_of(rule), problem, unstack_state(state)[0])
    of_support, of_query = features_of(learned, use, None, support_x, query_x)
    return use.classify(of_support, support_y, of_query)


def pictures_of(rule: Rule, use: Use, task: PairedTask) -> tuple[Tensor, Tensor] | None:
    """What units look for before and after ``use.steps`` inner steps, images [N, H, W] each; None if not images.

    The task's input permutation is undone, so that pixels lie where they are seen. Colours are averaged.
    """
    shape = task.task.dataset.image_shape
    if shape is None:
        return None
    place = torch.argsort(task.task.permutation)
    found = []
    for (learned,) in RuleMethod(rule, use, (0, use.steps)).learn([task], [task.episode]):
        with torch.no_grad():
            seen = learned.pictures()
        if seen is None:
            return None
        images = seen.detach().cpu()[:, place].reshape(-1, *shape)
        found.append(images if len(shape) == 2 else images.mean(-1))
    return found[0], found[1]
