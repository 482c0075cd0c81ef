"""Tasks in flight: each slot holds a task, the state of its base network and how far its trajectory has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import Any, NamedTuple

import torch

from inner_loop.networks.conv4 import Conv4
from inner_loop.networks.description import BaseNetwork, describe_network, network_from
from inner_loop.networks.mlp import MLP
from outer_loop.estimators.truncated_backprop import Piece
from outer_loop.truncation import TruncationSchedule
from tasks.task import Task, TaskShape, TaskSource, uniform_int
from update_rules.contract import SUPPORT, UNLABELLED, Rule, State


class ConvSettings(NamedTuple):
    """The settings of a ``Conv4`` that do not follow from a task."""

    channels: int
    filters: int
    pooling: str


@dataclass(frozen=True)
class NetworkChoice:
    """What base networks are drawn from: hidden sizes, the output size, activations; or the one convolutional network.

    With ``head`` the last layer has as many units as a task has ways.
    """

    hidden: tuple[tuple[int, ...], ...]
    outputs: int
    activations: tuple[str, ...]
    conv4: ConvSettings | None = None
    head: bool = False

    def draw(self, task: TaskShape, generator: torch.Generator) -> BaseNetwork:
        """A network for the inputs of ``task``; hidden sizes and activation are drawn uniformly.

        Raises ValueError for inputs that are no square image of the channels of a convolutional network.
        """
        if self.conv4 is not None:
            side = isqrt(task.inputs // self.conv4.channels)
            if side * side * self.conv4.channels != task.inputs:
                raise ValueError(
                    f"got tasks of {task.inputs} inputs for a conv4 network, expected square images of "
                    f"network.channels={self.conv4.channels}"
                )
            return Conv4(side, *self.conv4, task.ways if self.head else 0)
        hidden = self.hidden[int(torch.randint(len(self.hidden), (), generator=generator))]
        activation = self.activations[int(torch.randint(len(self.activations), (), generator=generator))]
        return MLP((task.inputs, *hidden, task.ways if self.head else self.outputs), activation)


class Shape(NamedTuple):
    """What the slots of a team share, so that they run as one batch."""

    task: TaskShape
    network: BaseNetwork
    batch: int
    """Unlabelled examples in an inner step."""


@dataclass(frozen=True)
class Slot:
    """One task in flight. All of its randomness comes from its own generators, whatever else runs beside it."""

    task: Task
    shape: Shape
    state: State
    position: int
    """Inner steps done."""
    length: int
    """Inner steps after which the slot restarts."""
    generator: torch.Generator
    team: torch.Generator
    """Draws shapes and lengths: the same in every slot of a team, so that these agree."""

    @property
    def network(self) -> BaseNetwork:
        """The base network."""
        return self.shape.network

    @property
    def finished(self) -> bool:
        """Whether the trajectory has reached its length."""
        return self.position >= self.length

    def advanced(self, state: State, steps: int) -> "Slot":
        """This slot after ``steps`` inner steps that led to ``state``."""
        return replace(self, state=state, position=self.position + steps)

    def piece(
        self,
        read_points: Sequence[int],
        device: torch.device,
        consumes: Sequence[str] = (UNLABELLED,),
        read_weights: tuple[float, ...] | None = None,
    ) -> Piece:
        """Draws the data of one piece of unroll: the views that a rule ``consumes``, and episodes to read it out.

        Where the rule sees a support set there is one episode, whose support it is, for all steps and read points; else
        each read point has an episode of its own, and no view holds a label.
        """
        steps = read_points[-1]
        views = {}
        if UNLABELLED in consumes:
            views[UNLABELLED] = self.task.unlabelled(self.generator, steps, self.shape.batch, device)
        labelled = any(name in SUPPORT for name in consumes)
        reads = read_points[-1:] if labelled else read_points
        drawn = [self.task.episode(self.generator, device=device) for _ in reads]
        if labelled:
            support = dict(zip(SUPPORT, drawn[0], strict=False))
            views |= {name: support[name].expand(steps, *support[name].shape) for name in SUPPORT if name in consumes}
            drawn *= len(read_points)
        return Piece(
            network=self.network,
            state=self.state,
            views=views,
            read_points=tuple(read_points),
            episodes=tuple(drawn),
            ways=self.task.ways,
            read_weights=read_weights,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything ``Trajectories.restore`` needs, as tensors, numbers and strings."""
        return {
            "task": self.task.state(),
            "network": describe_network(self.network),
            "batch": self.shape.batch,
            "state": {name: value.cpu() for name, value in self.state.items()},
            "position": self.position,
            "length": self.length,
            "generator": self.generator.get_state(),
            "team": self.team.get_state(),
        }


@dataclass(frozen=True)
class Trajectories:
    """How slots start, restart and come back from a checkpoint.

    ``team`` neighbouring slots have tasks of one shape and restart together. ``batch`` is (fewest, most) examples in an
    inner step.
    """

    source: TaskSource
    networks: NetworkChoice
    batch: tuple[int, int]
    schedule: TruncationSchedule
    team: int
    device: torch.device

    def start(self, rule: Rule, slots: int, seed: int, which: Sequence[int], turns: int = 1) -> list[list[Slot]]:
        """For each of ``turns``, of its ``slots`` fresh slots with staggered lengths ``which``.

        A slot depends on ``seed``, its turn, its index and the counts, not on ``which``.
        """
        seeds = torch.Generator().manual_seed(seed)
        drawn = torch.randint(2**62, (turns, 2, slots), generator=seeds).tolist()
        teams = -(-slots // self.team)
        started: list[list[Slot]] = []
        for turn, (own_seeds, team_seeds) in enumerate(drawn):
            started.append([])
            for index in which:
                place = index // self.team
                own, team = (torch.Generator().manual_seed(s) for s in (own_seeds[index], team_seeds[place]))
                length = self.schedule.draw_first(place * turns + turn, teams * turns, team)
                started[turn].append(self._draw(rule, own, team, self.draw_shape(team), length))
        return started

    def restart(self, rule: Rule, slot: Slot, outer_step: int) -> Slot:
        """A new task, network and state of a new shape in the place of ``slot``, from the same streams."""
        length = self.schedule.draw_trajectory(slot.team, outer_step)
        return self._draw(rule, slot.generator, slot.team, self.draw_shape(slot.team), length)

    def replace(self, rule: Rule, slot: Slot, steps: int) -> Slot:
        """A new task and state of the same shape for what is left, after ``steps`` more inner steps, of ``slot``."""
        left = max(0, slot.length - slot.position - steps)
        return self._draw(rule, slot.generator, slot.team, slot.shape, left)

    def restore(self, saved: dict[str, Any]) -> Slot:
        """The slot whose ``state_dict()`` this is. Raises ValueError if the data are not the same."""
        generator, team = torch.Generator(), torch.Generator()
        generator.set_state(saved["generator"])
        team.set_state(saved["team"])
        task = self.source.restore(saved["task"])
        network = network_from(saved["network"])
        return Slot(
            task=task,
            shape=Shape(TaskShape(task.dataset_index, task.ways, task.shots, task.inputs), network, saved["batch"]),
            state={name: value.to(self.device) for name, value in saved["state"].items()},
            position=saved["position"],
            length=saved["length"],
            generator=generator,
            team=team,
        )

    def draw_shape(self, generator: torch.Generator) -> Shape:
        """The shape of a team's tasks."""
        task = self.source.draw_shape(generator)
        return Shape(task, self.networks.draw(task, generator), uniform_int(self.batch, generator))

    def _draw(self, rule: Rule, own: torch.Generator, team: torch.Generator, shape: Shape, length: int) -> Slot:
        task = self.source.draw(own, shape.task)
        state = {name: value.to(self.device) for name, value in rule.init_state(shape.network, own).items()}
        return Slot(task, shape, state, 0, length, own, team)
