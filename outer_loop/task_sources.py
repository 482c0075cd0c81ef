"""From SOURCE strings to few-shot tasks with the sizes that a config states."""

from collections.abc import Iterable, Mapping

from outer_loop.config import Config
from tasks.dataset import Dataset
from tasks.sources import load_source
from tasks.task import TaskSource, suitable


def load_datasets(config: Config, names: Iterable[str], size: int | None = None) -> dict[str, list[Dataset]]:
    """The data sets of each named SOURCE, read once, with images of ``size``, by default the first of the config's.

    Raises ValueError or OSError as ``load_source`` does.
    """
    size = config.tasks.size[0] if size is None else size
    return {name: load_source(name, size=size, seed=config.seed) for name in dict.fromkeys(names)}


def training_tasks(config: Config, loaded: Mapping[str, list[Dataset]]) -> TaskSource:
    """What a rule is meta-trained on: tasks of every shape that the config allows, each SOURCE equally often.

    ``loaded`` holds the training SOURCEs by name, as ``load_datasets`` reads them; images are read again for each
    further size. Of a collection of tables, those in ``leave_out`` and those with too few examples are not used. Raises
    ValueError or OSError as ``load_source`` and ``TaskSource`` do.
    """
    tasks = config.tasks
    images = [name for name in tasks.sources if any(dataset.image_shape is not None for dataset in loaded[name])]
    resized = [load_datasets(config, images, size) for size in tasks.size[1:]]
    by_source: list[list[Dataset]] = []
    for name in tasks.sources:
        found = loaded[name] + [dataset for again in resized for dataset in again.get(name, [])]
        if len(loaded[name]) > 1:
            found = [d for d in found if not _left_out(d, config) and suitable(d, 2, tasks.shots[0] + tasks.queries)]
            if not found:
                raise ValueError(f"{name}: every table is left out or has too few examples, expected at least one")
        by_source.append(found)
    return TaskSource(
        tuple(dataset for found in by_source for dataset in found),
        tasks.ways[1],
        tasks.shots[1],
        tasks.queries,
        tasks.permute,
        tasks.labeller,
        fewest_ways=tasks.ways[0] if tasks.ways[0] < tasks.ways[1] else None,
        fewest_shots=tasks.shots[0] if tasks.shots[0] < tasks.shots[1] else None,
        inputs=tasks.inputs,
        parts=tuple(len(found) for found in by_source),
    )


def evaluation_tasks(config: Config, datasets: Iterable[Dataset]) -> TaskSource:
    """Few-shot tasks over ``datasets`` that judge a rule: true labels, all inputs, the config's most ways and shots.

    Raises ValueError as ``TaskSource`` does.
    """
    tasks = config.tasks
    return TaskSource(tuple(datasets), tasks.ways[1], tasks.shots[1], tasks.queries, tasks.permute)


def _left_out(dataset: Dataset, config: Config) -> bool:
    """Whether ``dataset``, named scheme:file/table@split, is one of the tables to leave out."""
    return dataset.name.rpartition("/")[2].partition("@")[0] in config.tasks.leave_out
