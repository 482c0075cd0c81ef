"""Operations on States that hold several tasks: every tensor has a leading T."""

from collections.abc import Sequence

import torch
from torch import Tensor

from update_rules.contract import State


def stack_states(states: Sequence[State]) -> State:
    """One State [T, ...] from T States of equal shapes."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def unstack_state(state: State) -> list[State]:
    """The T States of a stacked one, each with memory of its own."""
    count = next(iter(state.values())).shape[0]
    return [{name: value[task].clone() for name, value in state.items()} for task in range(count)]


def detach_state(state: State) -> State:
    """The same values, cut off from the graph that made them."""
    return {name: value.detach() for name, value in state.items()}


def finite_tasks(state: State) -> Tensor:
    """Which of the T tasks have only finite numbers in their state: bool [T]."""
    return torch.stack([value.isfinite().reshape(len(value), -1).all(1) for value in state.values()]).all(0)
