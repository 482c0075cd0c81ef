"""Tasks in flight: each slot holds a task, the state of its base network and how far its trajectory has come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from inner_loop.mlp import MLP
from outer_loop.outer_estimator import Piece
from outer_loop.truncation import TruncationSchedule
from tasks.task import Task, TaskSource
from update_rules.contract import Rule, State


@dataclass(frozen=True)
class NetworkChoice:
    """What base networks are drawn from: hidden sizes, the output size, activations."""

    hidden: tuple[tuple[int, ...], ...]
    outputs: int
    activations: tuple[str, ...]

    def draw(self, inputs: int, generator: torch.Generator) -> MLP:
        """A network for ``inputs`` inputs; hidden sizes and activation are drawn uniformly."""
        hidden = self.hidden[int(torch.randint(len(self.hidden), (), generator=generator))]
        activation = self.activations[int(torch.randint(len(self.activations), (), generator=generator))]
        return MLP((inputs, *hidden, self.outputs), activation)


@dataclass(frozen=True)
class Slot:
    """One task in flight. All of its randomness comes from its own generator, whatever else runs beside it."""

    task: Task
    network: MLP
    state: State
    position: int
    """Inner steps done."""
    length: int
    """Inner steps after which the slot restarts."""
    generator: torch.Generator

    @property
    def finished(self) -> bool:
        """Whether the trajectory has reached its length."""
        return self.position >= self.length

    def advanced(self, state: State, steps: int) -> "Slot":
        """This slot after ``steps`` inner steps that led to ``state``."""
        return replace(self, state=state, position=self.position + steps)

    def piece(self, read_points: Sequence[int], batch: int, device: torch.device) -> Piece:
        """Draws the data of one piece of unroll: a batch for every step and an episode for every read point."""
        unlabelled = self.task.unlabelled(self.generator, read_points[-1], batch)
        episodes = [self.task.episode(self.generator) for _ in read_points]
        return Piece(
            network=self.network,
            state=self.state,
            unlabelled=unlabelled.to(device),
            read_points=tuple(read_points),
            episodes=tuple(type(e)(*(part.to(device) for part in e)) for e in episodes),
            ways=self.task.ways,
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything ``Trajectories.restore`` needs, as tensors, numbers and strings."""
        return {
            "task": self.task.state(),
            "sizes": list(self.network.sizes),
            "activation": self.network.activation,
            "state": {name: value.cpu() for name, value in self.state.items()},
            "position": self.position,
            "length": self.length,
            "generator": self.generator.get_state(),
        }


@dataclass(frozen=True)
class Trajectories:
    """How slots start, restart and come back from a checkpoint."""

    source: TaskSource
    networks: NetworkChoice
    schedule: TruncationSchedule
    device: torch.device

    def start(self, rule: Rule, slots: int, seed: int, which: Sequence[int]) -> list[Slot]:
        """Of ``slots`` fresh slots with staggered lengths ``which``; slot i depends on ``seed`` and i only."""
        seeds = torch.Generator().manual_seed(seed)
        drawn = [int(torch.randint(2**62, (), generator=seeds)) for _ in range(slots)]
        started = []
        for index in which:
            own = torch.Generator().manual_seed(drawn[index])
            started.append(self._draw(rule, own, self.schedule.draw_first(index, slots, own)))
        return started

    def restart(self, rule: Rule, slot: Slot) -> Slot:
        """A new task, network and state in the place of ``slot``, from the same stream."""
        return self._draw(rule, slot.generator, self.schedule.draw_trajectory(slot.generator))

    def restore(self, saved: dict[str, Any]) -> Slot:
        """The slot whose ``state_dict()`` this is. Raises ValueError if the data are not the same."""
        generator = torch.Generator()
        generator.set_state(saved["generator"])
        return Slot(
            task=self.source.restore(saved["task"]),
            network=MLP(tuple(saved["sizes"]), saved["activation"]),
            state={name: value.to(self.device) for name, value in saved["state"].items()},
            position=saved["position"],
            length=saved["length"],
            generator=generator,
        )

    def _draw(self, rule: Rule, generator: torch.Generator, length: int) -> Slot:
        task = self.source.draw(generator)
        network = self.networks.draw(task.inputs, generator)
        state = {name: value.to(self.device) for name, value in rule.init_state(network, generator).items()}
        return Slot(task, network, state, 0, length, generator)
