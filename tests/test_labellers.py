"""The contract of labellers, which every one in the registry keeps; and one of one's own, taken by its path."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Generator, Tensor

from common.components import Registry
from examples import LABELLERS as EXAMPLES
from examples import LabellerExample
from experiment.task_sources import load_datasets, training_tasks
from outer_loop.config.file import load_config
from tasks.dataset import Dataset
from tasks.labellers.contract import Labeller, inputs_alone, labelled
from tasks.labellers.registry import LABELLERS
from tasks.source import TaskSource
from tasks.task import Task
from unsupervised_update_rules.commands import meta_train
from update_rules.rule_file import load_rule

WAYS = 3
BLIND = [one for one in EXAMPLES if not LABELLERS.find(one.name).sees_labels]

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
blind = pytest.mark.parametrize("example", BLIND, ids=lambda one: one.name)


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def data(name: str = "d", side: int = 4) -> Dataset:
    """120 random images of 6 classes."""
    x = torch.rand(120, side * side, generator=seeded(side))
    return Dataset(name, x, torch.arange(120) % 6, (side, side), tuple("abcdef"))


def source(example: LabellerExample, *datasets: Dataset, **settings: object) -> TaskSource:
    """Tasks of ``datasets``, by default two of different widths, with labels by ``example``."""
    labeller = LABELLERS.make(example.name, example.options)
    fewest = example.shots + example.queries
    made = [labelled(one, labeller, fewest, seeded(3)) for one in datasets or (data(), data("small", 3))]
    plain = {"ways": WAYS, "shots": example.shots, "queries": example.queries, "permute": True}
    return TaskSource(tuple(one for found in made for one in found), labeller=labeller, **(plain | settings))


def drawn(task: Task, seed: int) -> list[Tensor]:
    """All that a task gives, from one stream: its state, its pool, two episodes and some batches."""
    draw = seeded(seed)
    episodes = [*task.episode(draw), *task.episode(draw, 1, 2)]
    return [*task.state().values(), task.pool, *episodes, task.unlabelled(draw, 2, 9), draw.get_state()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


def test_every_labeller_of_the_registry_is_under_test() -> None:
    assert isinstance(LABELLERS, Registry)
    assert {one.name for one in EXAMPLES} == set(LABELLERS.names)
    for name in LABELLERS.names:
        found = LABELLERS.find(name)
        assert issubclass(found, Labeller)
        assert LABELLERS.name_of(found) == name


@every
def test_equal_generators_give_equal_bits_and_others_do_not(example: LabellerExample) -> None:
    first, again = source(example), source(example)
    assert first.fingerprint == again.fingerprint
    assert [one.fingerprint for one in first.datasets] == [one.fingerprint for one in again.datasets]
    streams = [seeded(7) for _ in range(2)]
    for place in range(6):
        one, other = (made.draw(stream) for made, stream in zip((first, again), streams, strict=True))
        assert same(drawn(one, place), drawn(other, place))
        assert same(drawn(one, place), drawn(one, place))
        assert not torch.equal(one.episode(seeded(1)).support_x, one.episode(seeded(2)).support_x)
    assert torch.equal(streams[0].get_state(), streams[1].get_state())


@every
def test_no_global_randomness_is_read_or_changed(example: LabellerExample) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = drawn(source(example).draw(seeded(1)), 2)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert same(drawn(source(example).draw(seeded(1)), 2), found)


@every
@pytest.mark.parametrize(("shots", "queries"), [(None, None), (1, 4), (3, 1)])
def test_episodes_are_balanced_and_labels_are_in_range(
    example: LabellerExample, shots: int | None, queries: int | None
) -> None:
    made, draw = source(example), seeded()
    for _ in range(8):
        task = made.draw(draw)
        episode = task.episode(draw, shots, queries)
        counts = (shots or example.shots, queries or example.queries)
        for x, y, count in ((episode.support_x, episode.support_y, counts[0]), (*episode[2:], counts[1])):
            assert (x.dtype, x.shape) == (torch.float32, (WAYS * count, task.inputs))
            assert y.dtype == torch.int64
            assert torch.bincount(y, minlength=WAYS).tolist() == [count] * WAYS
        assert task.labels.dtype == task.pool.dtype == torch.int64
        assert task.labels.shape == task.pool.shape
        assert int(task.labels.min()) >= 0
        assert int(task.labels.max()) < task.ways
        assert len(task.pool.unique()) == len(task.pool)
        picked = task.pick(draw, shots, queries)
        assert set(picked.query.tolist()) | set(picked.support.tolist()) <= set(task.pool.tolist())
        assert len(picked.support.unique()) == len(picked.support)
        assert [len(part) for part in picked] == [len(part) for part in episode]


@every
def test_an_episode_is_what_was_picked(example: LabellerExample) -> None:
    task = source(example, permute=False).draw(seeded())
    episode, picked = task.episode(seeded(1)), task.pick(seeded(1))
    assert torch.equal(episode.support_x, task.dataset.x[picked.support])
    assert torch.equal(episode.support_y, picked.support_y)
    assert torch.equal(episode.query_y, picked.query_y)


@every
def test_the_order_of_examples_does_not_tell_their_class(example: LabellerExample) -> None:
    made, draw = source(example), seeded()
    first = {int(y[0]) for _ in range(30) for y in (made.draw(draw).episode(draw).query_y,)}
    assert first == set(range(WAYS))


@every
def test_a_task_comes_back_from_its_state(example: LabellerExample) -> None:
    made = source(example)
    for seed in range(5):
        task = made.draw(seeded(seed))
        again = made.restore(task.state())
        assert again.dataset is task.dataset
        assert same(drawn(task, seed), drawn(again, seed))


@every
def test_the_state_of_another_source_is_refused_in_one_line(example: LabellerExample) -> None:
    made = source(example)
    state = made.draw(seeded()).state()
    for wrong in (
        {"dataset": torch.tensor(99)},
        {"classes": torch.tensor([0, 1, 99])},
        {"classes": torch.tensor([0])},
        {"labels": state["labels"][:-1]},
    ):
        with pytest.raises(ValueError, match="other data") as caught:
            made.restore({**state, **wrong})
        assert "\n" not in str(caught.value)


@every
def test_ways_and_shots_may_vary(example: LabellerExample) -> None:
    made, draw = source(example, fewest_ways=2, fewest_shots=1), seeded()
    shapes = [made.draw_shape(draw) for _ in range(60)]
    assert {shape.ways for shape in shapes} == {2, 3}
    assert {shape.shots for shape in shapes} == {1, 2}
    for shape in shapes[:10]:
        assert len(made.draw(draw, shape).episode(draw).support_y) == shape.ways * shape.shots


@blind
def test_who_sees_no_labels_gives_the_same_tasks_whatever_they_are(example: LabellerExample) -> None:
    plain = data()
    lonely = torch.zeros(120, dtype=torch.int64)
    lonely[7] = 1
    relabelled = [
        replace(plain, y=plain.y[torch.randperm(120, generator=seeded(1))]),
        replace(plain, y=(plain.y + 1) % 6),
        replace(plain, y=lonely, class_names=("all", "one")),
        replace(plain, y=torch.zeros_like(plain.y), class_names=("all",)),
    ]
    first = source(example, plain)
    for other in (source(example, one) for one in relabelled):
        assert first.fingerprint == other.fingerprint
        assert [one.fingerprint for one in first.datasets] == [one.fingerprint for one in other.datasets]
        for seed in range(4):
            assert same(drawn(first.draw(seeded(seed)), seed), drawn(other.draw(seeded(seed)), seed))


@blind
def test_who_sees_no_labels_is_never_handed_any(example: LabellerExample) -> None:
    labeller = LABELLERS.make(example.name, example.options)
    with pytest.raises(ValueError, match=r"d: got data with labels for .*, which sees none") as caught:
        TaskSource((data(),), WAYS, 1, 1, False, labeller)
    assert "\n" not in str(caught.value)


@every
def test_the_fingerprint_tells_data_and_settings_apart(example: LabellerExample) -> None:
    other = data()
    other = replace(other, x=1 - other.x)
    prints = {
        source(example).fingerprint,
        source(example, data()).fingerprint,
        source(example, other).fingerprint,
        source(example, ways=2).fingerprint,
        source(example, shots=1).fingerprint,
        source(example, queries=1).fingerprint,
        source(example, permute=False).fingerprint,
        source(example, redraw="shift=0.2").fingerprint,
        source(example, transductive=False).fingerprint,
    }
    assert len(prints) == 9


def test_the_labeller_is_part_of_the_fingerprint() -> None:
    instances = [LabellerExample("instances", {"augmentation": f"shift={most}"}) for most in (0.1, 0.2)]
    clusters = [LabellerExample("clusters", {"partitions": 2, "groups": groups}) for groups in (4, 5)]
    assert len({source(one).fingerprint for one in (*EXAMPLES, *instances, *clusters)}) == len(EXAMPLES) + 3


def test_fingerprints_are_those_of_stored_runs() -> None:
    x = torch.arange(480.0).view(30, 16) / 480
    toy = Dataset("toy", x, torch.arange(30) % 5, (4, 4), tuple("abcde"))
    found = {}
    for example in (EXAMPLES[0], EXAMPLES[1], LabellerExample("instances", {"augmentation": "shift=0.3"})):
        found[example.name] = source(example, toy, fewest_shots=1, parts=(1,), redraw="crop=0.1").fingerprint[:16]
    assert found == {"true": "fc886841a0cdfa10", "shuffled": "9fcb92b270faa1d7", "instances": "3fc5833d9e90f8b9"}


@every
@pytest.mark.parametrize("short", [{"ways": 200}, {"shots": 200}], ids=["ways", "shots"])
def test_too_little_data_is_refused_in_one_line(example: LabellerExample, short: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"^d\b.*expected") as caught:
        source(example, data(), **short)
    assert "\n" not in str(caught.value)


@every
def test_an_episode_larger_than_the_task_is_refused_in_one_line(example: LabellerExample) -> None:
    task = source(example).draw(seeded())
    for shots, queries in ((0, 1), (1, 0), (500, 1)):
        with pytest.raises(ValueError, match=rf"got {shots} shots and {queries} queries, expected 1 or more") as caught:
            task.episode(seeded(), shots, queries)
        assert "\n" not in str(caught.value)


def test_a_name_of_none_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"expected one of true, shuffled.*did you mean shuffled\?"):
        LABELLERS.make("shufled", {})


def test_who_has_no_encoders_has_the_inputs() -> None:
    assert torch.equal(inputs_alone(data(), "inputs"), data().x)
    with pytest.raises(ValueError, match="d: got encoder 'mine', expected inputs"):
        inputs_alone(data(), "mine")


class Halves(Labeller):
    """The classes ``lower`` and above, as two: a labeller that knows nothing of the trainer."""

    def __init__(self, lower: int = 5) -> None:
        self.lower = lower

    def datasets(
        self, dataset: Dataset, features: Callable[..., Tensor], fewest: int, generator: Generator
    ) -> list[Dataset]:
        """Two classes."""
        return [replace(dataset, y=(dataset.y >= self.lower).long(), class_names=("lower", "upper"))]


PATH = f"{__name__}:Halves"


def test_a_labeller_of_ones_own_is_taken_by_its_path(tiny_config: Callable[..., list[str]], tmp_path: Path) -> None:
    settings = [f"tasks.labeller={{name: '{PATH}', options: {{lower: 4}}}}", "tasks.ways=2", "outer_steps=2"]
    arguments = tiny_config("run", *settings)
    config = load_config(arguments[1], arguments[2:])
    made = training_tasks(config, load_datasets(config, config.tasks.sources))
    assert [one.class_names for one in made.datasets] == [("lower", "upper")]
    assert made.labeller.settings == f"{PATH} {{'lower': 4}}"
    assert meta_train.main(arguments) == 0
    assert load_rule(tmp_path / "run" / "rule.safetensors").name == "neuron_local"
    assert load_config(tmp_path / "run" / "config.yaml").tasks.labeller == config.tasks.labeller
    with pytest.raises(ValueError, match=r"tasks.labeller.options.lwer: got 3, expected one of lower \(did you mean"):
        load_config(arguments[1], [*arguments[2:], "tasks.labeller.options.lwer=3"])
