"""The views of a task: all that an update rule can ask for, by name; no labels of queries, which readouts alone see.

Shapes: K inner steps, B examples in an unlabelled batch, M in a set, S support and Q query examples, D inputs.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from common.names import did_you_mean
from tasks.task import Episode, Picked, Task

Batches = Callable[[Task, Generator, int, int, torch.device | None], Tensor]
"""A task, a generator, K, B and a device give a view of every inner step, [K, ...]."""

Beside = Callable[[Task, Picked, Generator, torch.device | None], Tensor]
"""A task, the rows of an episode, a generator and a device give a view that goes with the episode."""


@dataclass(frozen=True)
class View:
    """One view. Exactly one of ``of_task``, ``of_episode`` and ``beside`` says how it is drawn."""

    name: str
    labels: bool
    """Whether it holds labels."""
    of_task: Batches | None = None
    """Draws it from the task, anew for each inner step."""
    of_episode: Callable[[Episode], Tensor] | None = None
    """What of an episode it is, the same at each inner step."""
    beside: Beside | None = None
    """Draws what goes with an episode, the same at each inner step."""

    @property
    def fixed(self) -> bool:
        """Whether it is the same at each inner step, and so belongs to one episode."""
        return self.of_task is None


VIEWS: Mapping[str, View] = {
    view.name: view
    for view in (
        View("unlabelled", labels=False, of_task=Task.unlabelled),  # [B, D]
        View("support_x", labels=False, of_episode=lambda episode: episode.support_x),  # [S, D]
        View("support_y", labels=True, of_episode=lambda episode: episode.support_y),  # [S] int64
        View("query_x", labels=False, of_episode=lambda episode: episode.query_x),  # [Q, D]
        View("unlabelled_set", labels=False, beside=Task.unlabelled_set),  # [M, D]
    )
}
"""The views there are. What is fixed comes last, in the order of an episode."""

SWAPPABLE = tuple(
    name
    for name, view in VIEWS.items()
    if view.fixed and not view.labels and f"{name.removesuffix('_x')}_y" not in VIEWS
)
"""Views that another task's can stand in for: those that go with an episode and whose labels are in no view."""


def unknown_view(names: Collection[str]) -> str | None:
    """What is wrong with the first of ``names`` that is no view, in one line; None where all are views."""
    for name in names:
        if name not in VIEWS:
            return f"got view {name!r}, expected {', '.join(VIEWS)}{did_you_mean(name, VIEWS)}"
    return None


def views_of(names: Collection[str]) -> list[View]:
    """The views called ``names``, in the order of the table. Raises ValueError for a name of none."""
    if wrong := unknown_view(names):
        raise ValueError(wrong)
    return [view for name, view in VIEWS.items() if name in names]


def at_each_step(views: Mapping[str, Tensor], steps: int) -> dict[str, Tensor]:
    """``views``, the same at each of ``steps`` inner steps: [steps, ...], not copied."""
    return {name: value.expand(steps, *value.shape) for name, value in views.items()}


def fixed_views(
    task: Task,
    names: Collection[str],
    picked: Picked,
    episode: Episode,
    generator: Generator,
    device: torch.device | None = None,
) -> dict[str, Tensor]:
    """Of the views ``names`` those that go with ``episode`` of the rows ``picked``, but what is ``task.swapped``.

    That comes from another task, drawn from ``generator``. Raises ValueError for names of no view, and as
    ``Task.unlabelled_set`` and ``Task.another`` do.
    """
    found: dict[str, Tensor] = {}
    for view in views_of(names):
        if not view.fixed:
            continue
        one, rows, drawn = task, picked, episode
        if view.name in task.swapped:
            one = task.another(generator)
            rows = one.pick(generator)
            drawn = one.episode_of(rows, generator, device)
        if view.of_episode is not None:
            found[view.name] = view.of_episode(drawn)
        elif view.beside is not None:
            found[view.name] = view.beside(one, rows, generator, device)
    return found


def draw_views(
    task: Task,
    names: Collection[str],
    generator: Generator,
    *,
    steps: int,
    batch: int,
    episodes: int,
    device: torch.device | None = None,
) -> tuple[dict[str, Tensor], tuple[Episode, ...]]:
    """The views called ``names`` for ``steps`` inner steps, [steps, ...] each, and ``episodes`` episodes to judge by.

    A task that is transductive draws its batches of ``batch`` examples first and then the episodes; another one draws
    episodes first, since its batches leave out their queries. Where a view is fixed there is one episode, whose view it
    is, as often as ``episodes`` says; else these are different draws. All lie on ``device``, None for the CPU. Raises
    ValueError for a name of no view, and as ``Task.pick`` and ``Task.without`` do.
    """
    wanted = views_of(names)
    count = 1 if any(view.fixed for view in wanted) else episodes

    def batches_of(task: Task) -> dict[str, Tensor]:
        of_task = {view.name: view.of_task for view in wanted if view.of_task is not None}
        return {name: draw(task, generator, steps, batch, device) for name, draw in of_task.items()}

    batches = batches_of(task) if task.transductive else {}
    drawn, picks = [], []
    for _ in range(count):
        picks.append(task.pick(generator))
        drawn.append(task.episode_of(picks[-1], generator, device))
    if not task.transductive and not all(view.fixed for view in wanted):
        batches = batches_of(task.without(torch.cat([picked.query for picked in picks])))
    fixed = fixed_views(task, names, picks[0], drawn[0], generator, device)
    return batches | at_each_step(fixed, steps), tuple(drawn * (episodes // count))
