"""Everything that a meta-training run changes, in one object that saves and restores exactly."""

import math
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from outer_loop.estimators.contract import Memory
from outer_loop.run.processes import Ranks
from outer_loop.trajectories import Trajectories, Trajectory
from update_rules.contract import Rule

PLAIN = ("run_id", "outer_step", "best_accuracy", "dropped_total", "clipped_total", "pending")
"""What is saved as it is."""


@dataclass
class TrainingState:
    """θ, optimiser, tasks in flight, generators and counters. Stop, save, restore and go on gives the same numbers."""

    rule: Rule
    optimiser: torch.optim.Optimizer
    trajectories: list[list[Trajectory]]
    """This rank's share of the tasks in flight, by turn. Everything else is the same on every rank."""
    generator: torch.Generator
    """Draws the length of each truncated unroll; trajectories have generators of their own."""
    run_id: str
    """The tracking run that a resumed process continues."""
    average: AveragedModel | None = None
    """The rule with a moving average of θ, where there is one."""
    memory: Memory = field(default_factory=dict)
    """What the estimator keeps across outer steps."""
    outer_step: int = 0
    best_accuracy: float = -math.inf
    dropped_total: int = 0
    clipped_total: int = 0
    pending: dict[str, float] | None = None
    """What the last outer step measured, where its validation was interrupted and is yet to come."""

    @property
    def judged(self) -> Rule:
        """The rule that is evaluated and saved: that with the average of θ, where there is one."""
        return self.rule if self.average is None else cast(Rule, self.average.module)

    def state_dict(self, ranks: Ranks) -> dict[str, Any]:
        """The whole state as tensors, numbers and strings in dicts and lists: on every rank, the same."""
        return {
            "theta": _theta(self.rule),
            "average": None if self.average is None else _theta(self.average),
            "optimiser": self.optimiser.state_dict(),
            "trajectories": [ranks.gather([one.state_dict() for one in turn]) for turn in self.trajectories],
            "memory": {name: value.cpu() for name, value in self.memory.items()},
            "generator": self.generator.get_state(),
            **{name: getattr(self, name) for name in PLAIN},
        }

    def load_state_dict(self, saved: dict[str, Any], restored: Trajectories, ranks: Ranks) -> None:
        """Take over ``saved``, of any number of ranks. Raises ValueError where rule or data are not the same."""
        try:
            self.rule.load_state_dict(saved["theta"])
            if self.average is not None:
                self.average.load_state_dict(saved["average"])
        except RuntimeError as error:
            raise ValueError(f"the checkpoint holds another rule: {error}") from None
        self.optimiser.load_state_dict(saved["optimiser"])
        self.trajectories = [[restored.restore(one) for one in ranks.own(turn)] for turn in saved["trajectories"]]
        self.memory = {name: value.to(restored.device) for name, value in saved["memory"].items()}
        self.generator.set_state(saved["generator"])
        for name in PLAIN:
            setattr(self, name, saved.get(name) if name == "pending" else saved[name])


def _theta(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all tensors of ``module``."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
