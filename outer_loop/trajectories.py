"""Trajectories in flight: each is a task, what is carried of its base network and how far it has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from common.draws import uniform_int
from inner_loop.networks.contract import NetworkFamily
from inner_loop.networks.registry import describe_network, network_from
from inner_loop.unroll import theta_of
from outer_loop.estimators.contract import Carried, Estimator, TruncatedUnroll
from outer_loop.truncation import TruncationSchedule
from tasks.source import TaskSource
from tasks.task import Task, TaskShape
from tasks.views import draw_views
from update_rules.contract import UNLABELLED, Network, Problem, Rule


class Shape(NamedTuple):
    """What the trajectories of a team share, so that they run as one batch."""

    task: TaskShape
    network: Network | None
    batch: int
    """Unlabelled examples in an inner step."""


@dataclass(frozen=True)
class Trajectory:
    """One task in flight. All of its randomness comes from its own generators, whatever else runs beside it."""

    task: Task
    shape: Shape
    carried: Carried
    """What the estimator keeps of it: the state of its base network, and perturbations if there are any."""
    position: int
    """Inner steps done."""
    length: int
    """Inner steps after which it restarts."""
    generator: torch.Generator
    team: torch.Generator
    """Draws shapes and lengths: the same in every trajectory of a team, so that these agree."""

    @property
    def finished(self) -> bool:
        """Whether the trajectory has reached its length."""
        return self.position >= self.length

    def advanced(self, carried: Carried, steps: int) -> "Trajectory":
        """This trajectory after ``steps`` inner steps that led to ``carried``."""
        return replace(self, carried=carried, position=self.position + steps)

    def unroll(
        self,
        read_points: Sequence[int],
        device: torch.device,
        consumes: Sequence[str] = (UNLABELLED,),
        read_weights: tuple[float, ...] | None = None,
        normalisation: str = "batch",
    ) -> TruncatedUnroll:
        """Draws the data of one truncated unroll: the views that a rule ``consumes``, and episodes to read it out.

        Each read point has an episode of its own, unless the rule sees one. Raises ValueError as ``draw_views``.
        """
        count = {"steps": read_points[-1], "batch": self.shape.batch, "episodes": len(read_points)}
        views, episodes = draw_views(self.task, consumes, self.generator, **count, device=device)
        problem, points = problem_of(self.task, self.shape.network, normalisation), tuple(read_points)
        return TruncatedUnroll(
            problem, self.carried, views, points, episodes, self.task.ways, self.generator, read_weights
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything ``Trajectories.restore`` needs, as tensors, numbers and strings."""
        return {
            "task": self.task.state(),
            "network": describe_network(self.shape.network),
            "batch": self.shape.batch,
            "carried": {name: value.cpu() for name, value in self.carried.items()},
            "position": self.position,
            "length": self.length,
            "generator": self.generator.get_state(),
            "team": self.team.get_state(),
        }


def problem_of(task: Task, network: Network | None, normalisation: str) -> Problem:
    """What a rule knows of ``task``: no data, and no label."""
    views = (("query_x", (task.points, task.inputs)),) if task.points else ()
    ways = task.ways if task.told else 0
    return Problem(task.inputs, network, ways, task.image_shape, views, normalisation)


@dataclass(frozen=True)
class Trajectories:
    """How trajectories start, restart and come back from a checkpoint.

    ``team`` neighbours share a shape and restart together. ``batch`` is (fewest, most) examples in an inner step. With
    ``logits`` a base network has an output for each of a task's ways.
    """

    source: TaskSource
    networks: NetworkFamily
    logits: bool
    batch: tuple[int, int]
    schedule: TruncationSchedule
    team: int
    device: torch.device
    estimator: Estimator
    normalisation: str = "batch"

    def start(self, rule: Rule, count: int, seed: int, which: Sequence[int], turns: int = 1) -> list[list[Trajectory]]:
        """For each of ``turns`` those ``which`` of ``count`` staggered trajectories, the same for any ``which``."""
        seeds = torch.Generator().manual_seed(seed)
        drawn = torch.randint(2**62, (turns, 2, count), generator=seeds).tolist()
        teams = -(-count // self.team)
        started: list[list[Trajectory]] = []
        for turn, (own_seeds, team_seeds) in enumerate(drawn):
            started.append([])
            for index in which:
                place = index // self.team
                own, team = (torch.Generator().manual_seed(s) for s in (own_seeds[index], team_seeds[place]))
                length = self.schedule.draw_first(place * turns + turn, teams * turns, team)
                started[turn].append(self._draw(rule, own, team, self.draw_shape(team), length))
        return started

    def restart(self, rule: Rule, trajectory: Trajectory, outer_step: int) -> Trajectory:
        """A new task, network and state of a new shape in the place of ``trajectory``, from the same streams."""
        length = self.schedule.draw_trajectory(trajectory.team, outer_step)
        return self._draw(rule, trajectory.generator, trajectory.team, self.draw_shape(trajectory.team), length)

    def replace(self, rule: Rule, trajectory: Trajectory, steps: int) -> Trajectory:
        """A new task and state of the same shape for what is left, after ``steps`` more inner steps."""
        left = max(0, trajectory.length - trajectory.position - steps)
        return self._draw(rule, trajectory.generator, trajectory.team, trajectory.shape, left)

    def restore(self, saved: dict[str, Any]) -> Trajectory:
        """The trajectory whose ``state_dict()`` this is. Raises ValueError if the data are not the same."""
        generator, team = torch.Generator(), torch.Generator()
        generator.set_state(saved["generator"])
        team.set_state(saved["team"])
        task = self.source.restore(saved["task"])
        drawn = TaskShape(task.dataset_index, task.ways, task.shots, task.inputs, task.points)
        shape = Shape(drawn, network_from(saved["network"]), saved["batch"])
        carried = {name: value.to(self.device) for name, value in saved["carried"].items()}
        return Trajectory(task, shape, carried, saved["position"], saved["length"], generator, team)

    def draw_shape(self, generator: torch.Generator) -> Shape:
        """The shape of a team's tasks."""
        task = self.source.draw_shape(generator)
        network = self.networks.draw(task.inputs, task.ways if self.logits else 0, generator)
        return Shape(task, network, uniform_int(self.batch, generator))

    def _draw(self, rule: Rule, own: torch.Generator, team: torch.Generator, shape: Shape, length: int) -> Trajectory:
        task = self.source.draw(own, shape.task)
        drawn = rule.init_state(problem_of(task, shape.network, self.normalisation), own)
        state = {name: value.to(self.device) for name, value in drawn.items()}
        return Trajectory(task, shape, self.estimator.start(rule, theta_of(rule), state, own), 0, length, own, team)
