"""From SOURCE strings to few-shot tasks with the sizes that a config states."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from common.names import did_you_mean
from experiment.encoders import embedding
from outer_loop.config.schema import Config
from tasks.data.sources import load_source
from tasks.dataset import Dataset, resize, with_enough, with_rows
from tasks.labellers.contract import labelled
from tasks.labellers.true import TrueLabels
from tasks.set_source import SetSource, large_enough
from tasks.source import TaskSource


def load_datasets(config: Config, names: Iterable[str], size: int | None = None) -> dict[str, list[Dataset]]:
    """The data sets of each SOURCE, read once, images of ``size`` or the config's first. Raises as ``load_source``."""
    size = config.tasks.size[0] if size is None else size
    how: dict[str, Any] = {"size": size, "seed": config.seed, "standardise": config.tasks.standardise}
    return {name: load_source(name, **how) for name in dict.fromkeys(names)}


def training_tasks(config: Config, loaded: Mapping[str, list[Dataset]]) -> TaskSource:
    """What a rule is meta-trained on: tasks of every shape that the config allows, each SOURCE equally often.

    ``loaded`` holds the training SOURCEs by name, as ``load_datasets`` reads them; images are read again for each
    further size and each detail. Data in ``leave_out`` are not used, nor tables of a collection with too few examples.
    The labeller makes of each data set those that tasks are drawn from, the same for the same seed. Raises ValueError
    or OSError as ``load_source``, ``TaskSource`` and ``Labeller.datasets`` do, and for a name to leave out of no data.
    """
    tasks, labeller = config.tasks, config.tasks.labeller.make()

    beside = tasks.queries + tasks.unlabelled_shots

    def features(dataset: Dataset, encoder: str) -> Tensor:
        return embedding(dataset, encoder, config.seed)

    def made_of(dataset: Dataset) -> tuple[Dataset, ...]:
        generator = torch.Generator().manual_seed(config.seed)
        return labelled(dataset, labeller, tasks.shots[1] + beside, generator, features)

    images = [name for name in tasks.sources if any(dataset.image_shape is not None for dataset in loaded[name])]
    resized = [load_datasets(config, images, size) for size in tasks.size[1:]]
    coarse = [load_datasets(config, images, detail) for detail in tasks.detail]
    resized += [_enlarged(loaded_coarse, size) for size in tasks.size for loaded_coarse in coarse]
    known = {one for name in tasks.sources for dataset in loaded[name] for one in _names_of(dataset)}
    if unknown := [one for one in tasks.leave_out if one not in known]:
        raise ValueError(
            f"got tasks.leave_out {unknown[0]!r}, expected a data set of {', '.join(tasks.sources)}"
            f"{did_you_mean(unknown[0], known)}"
        )
    made: dict[str, list[Dataset]] = {}
    for name in dict.fromkeys(tasks.sources):
        found = loaded[name] + [dataset for again in resized for dataset in again.get(name, [])]
        found = [dataset for dataset in found if not _names_of(dataset) & {*tasks.leave_out}]
        if not found:
            raise ValueError(f"{name}: every table is left out, expected at least one")
        if len(loaded[name]) > 1:
            fewest = tasks.ways[1] if tasks.ways[0] == tasks.ways[1] else 2
            if tasks.points is not None:
                found = large_enough(found, tasks.points[0])
            elif labeller.sees_labels:
                found = with_enough(found, fewest, tasks.shots[0] + beside)
            else:
                found = with_rows(found, fewest * (tasks.shots[0] + beside))
        made[name] = [part for dataset in found for part in made_of(dataset)]
    by_source = [made[name] for name in tasks.sources]
    make: Callable[..., TaskSource] = TaskSource
    if tasks.points is not None:
        make = partial(SetSource, points=tasks.points, untold=tasks.untold)
    return make(
        datasets=tuple(dataset for found in by_source for dataset in found),
        ways=tasks.ways[1],
        shots=tasks.shots[1],
        queries=tasks.queries,
        permute=tasks.permute,
        labeller=labeller,
        fewest_ways=tasks.ways[0] if tasks.ways[0] < tasks.ways[1] else None,
        fewest_shots=tasks.shots[0] if tasks.shots[0] < tasks.shots[1] else None,
        inputs=tasks.inputs,
        parts=tuple(len(found) for found in by_source),
        redraw=tasks.redraw,
        transductive=tasks.transductive,
        unlabelled_shots=tasks.unlabelled_shots,
        distractors=tasks.distractors,
        swapped=tasks.swapped,
    )


def _names_of(dataset: Dataset) -> set[str]:
    """What ``leave_out`` may call ``dataset``: its name without a folder and a split, or what stands behind a #."""
    table = dataset.name.rpartition("/")[2].partition("@")[0]
    return {table, table.rpartition("#")[2]}


def _enlarged(loaded: Mapping[str, list[Dataset]], size: int) -> dict[str, list[Dataset]]:
    """The images of each named SOURCE at ``size`` × ``size`` pixels; data of other kinds stay as they are."""

    def enlarged(dataset: Dataset) -> Dataset:
        if dataset.image_shape is None:
            return dataset
        x = resize(dataset.x.unflatten(1, dataset.image_shape), size)
        return replace(dataset, x=x.flatten(1), image_shape=tuple(x.shape[1:]))

    return {name: [enlarged(dataset) for dataset in found] for name, found in loaded.items()}


def evaluation_tasks(config: Config, datasets: Iterable[Dataset]) -> TaskSource:
    """Few-shot tasks that judge a rule: true labels, all inputs, the most shots. Raises as ``TaskSource``.

    Where all tasks of the training have the same classes, these have them too. For rules that cluster they are whole
    sets, the number of whose clusters is told.
    """
    tasks = config.tasks
    if tasks.points is not None:
        sets = tuple(large_enough(list(datasets), tasks.points[0]))
        return SetSource(sets, tasks.ways[1], 0, 0, False, fewest_ways=2, points=tasks.points)
    labeller, ways = tasks.labeller.make(), config.evaluation.ways or tasks.ways[1]
    enough = with_enough(list(datasets), ways, tasks.shots[1] + tasks.queries + tasks.unlabelled_shots)
    return TaskSource(
        tuple(enough),
        ways,
        tasks.shots[1],
        tasks.queries,
        tasks.permute,
        labeller=labeller if labeller.same_classes else TrueLabels(),
        transductive=tasks.transductive,
        unlabelled_shots=tasks.unlabelled_shots,
        distractors=tasks.distractors,
        swapped=tasks.swapped,
    )
