"""From SOURCE strings to few-shot tasks with the sizes that a config states."""

from outer_loop.config import Config
from tasks.sources import load_source
from tasks.task import TaskSource


def task_source(config: Config, sources: tuple[str, ...]) -> TaskSource:
    """Few-shot tasks over all data sets of the named SOURCEs. Raises ValueError or OSError as ``load_source`` does."""
    tasks = config.tasks
    datasets = [dataset for source in sources for dataset in load_source(source, size=tasks.size, seed=config.seed)]
    return TaskSource(tuple(datasets), tasks.ways, tasks.shots, tasks.queries, tasks.permute, tasks.labeller)
