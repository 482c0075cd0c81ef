"""From SOURCE strings to few-shot tasks with the sizes that a config states."""

from collections.abc import Iterable

from outer_loop.config import Config
from tasks.dataset import Dataset
from tasks.sources import load_source
from tasks.task import TaskSource


def load_datasets(config: Config, names: Iterable[str]) -> dict[str, list[Dataset]]:
    """The data sets of each named SOURCE, read once. Raises ValueError or OSError as ``load_source`` does."""
    return {name: load_source(name, size=config.tasks.size, seed=config.seed) for name in dict.fromkeys(names)}


def task_source(config: Config, datasets: Iterable[Dataset], labeller: str = "true") -> TaskSource:
    """Few-shot tasks over ``datasets`` with the config's ways, shots and queries.

    Labels are the true ones, by which a rule is judged, unless ``labeller`` says otherwise. Raises ValueError as
    ``TaskSource`` does.
    """
    tasks = config.tasks
    return TaskSource(tuple(datasets), tasks.ways, tasks.shots, tasks.queries, tasks.permute, labeller)
