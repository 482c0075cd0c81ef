"""Everything that a meta-training run changes, in one object that saves and restores exactly."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from outer_loop.process_group import Ranks
from outer_loop.trajectories import Slot, Trajectories
from update_rules.contract import Rule


@dataclass
class TrainingState:
    """θ, optimiser, tasks in flight, generators and counters. Stop, save, restore and go on gives the same numbers."""

    rule: Rule
    optimiser: torch.optim.Adam
    slots: list[Slot]
    """This rank's share of the tasks in flight. Everything else is the same on every rank."""
    generator: torch.Generator
    """Draws the length of each piece of unroll; tasks have generators of their own."""
    run_id: str
    """The tracking run that a resumed process continues."""
    outer_step: int = 0
    best_accuracy: float = -math.inf
    dropped_total: int = 0
    clipped_total: int = 0

    def state_dict(self, ranks: Ranks) -> dict[str, Any]:
        """The whole state as tensors, numbers and strings in dicts and lists: on every rank, the slots of all ranks."""
        return {
            "theta": {name: value.detach().clone() for name, value in self.rule.state_dict().items()},
            "optimiser": self.optimiser.state_dict(),
            "slots": ranks.gather([slot.state_dict() for slot in self.slots]),
            "generator": self.generator.get_state(),
            "run_id": self.run_id,
            "outer_step": self.outer_step,
            "best_accuracy": self.best_accuracy,
            "dropped_total": self.dropped_total,
            "clipped_total": self.clipped_total,
        }

    def load_state_dict(self, saved: dict[str, Any], trajectories: Trajectories, ranks: Ranks) -> None:
        """Take over ``saved``, from ``state_dict()`` of any number of ranks; of the slots, this rank's share.

        Raises ValueError where rule or data are not the same.
        """
        try:
            self.rule.load_state_dict(saved["theta"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint holds another rule: {error}") from None
        self.optimiser.load_state_dict(saved["optimiser"])
        self.slots = [trajectories.restore(slot) for slot in ranks.own(saved["slots"])]
        self.generator.set_state(saved["generator"])
        self.run_id = saved["run_id"]
        self.outer_step = saved["outer_step"]
        self.best_accuracy = saved["best_accuracy"]
        self.dropped_total = saved["dropped_total"]
        self.clipped_total = saved["clipped_total"]
