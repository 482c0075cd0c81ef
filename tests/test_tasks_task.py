import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.dataset import Dataset
from tasks.labellers.registry import LABELLERS
from tasks.labellers.shuffled import ShuffledLabels
from tasks.source import TaskSource

SEEING = [name for name in LABELLERS.names if LABELLERS.find(name).sees_labels]


def numbered(classes=5, per_class=8, inputs=6, name="toy"):
    """A data set in which input j of example i is i + j / 16: each value tells the example and the input it is."""
    y = torch.arange(classes).repeat(per_class)
    x = torch.arange(len(y))[:, None] + torch.arange(inputs) / 16
    return Dataset(name, x.float(), y, None, tuple(f"c{c}" for c in range(classes)))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def source(*datasets, ways=3, shots=2, queries=3, permute=True, labeller="true"):
    return TaskSource(datasets or (numbered(),), ways, shots, queries, permute, LABELLERS.make(labeller, {}))


def examples(x):
    """Which examples of ``numbered`` the rows of ``x`` are, in whatever order their inputs stand."""
    return x[..., 0].floor().long()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    classes=st.integers(2, 7),
    shots=st.integers(1, 4),
    queries=st.integers(1, 4),
    permute=st.booleans(),
    labeller=st.sampled_from(SEEING),
    data=st.data(),
)
def test_episodes(seed, classes, shots, queries, permute, labeller, data):
    ways = data.draw(st.integers(2, classes))
    dataset = numbered(classes)
    rng = generator(seed)
    task = source(dataset, ways=ways, shots=shots, queries=queries, permute=permute, labeller=labeller).draw(rng)
    episode = task.episode(rng)
    support, query = examples(episode.support_x), examples(episode.query_x)

    assert episode.support_x.shape == (ways * shots, 6)
    assert episode.query_x.shape == (ways * queries, 6)
    assert episode.support_y.dtype == episode.query_y.dtype == torch.int64
    assert torch.bincount(episode.support_y, minlength=ways).tolist() == [shots] * ways
    assert torch.bincount(episode.query_y, minlength=ways).tolist() == [queries] * ways
    both = torch.cat([support, query]).tolist()
    assert len(set(both)) == len(both)
    assert set(both) <= set(task.pool.tolist())
    assert set(dataset.y[task.pool].tolist()) == set(task.classes.tolist())
    assert sorted(task.permutation.tolist()) == list(range(6))
    if not permute:
        assert task.permutation.tolist() == list(range(6))
    # Inputs are permuted alike in labelled and unlabelled examples.
    for x in (episode.support_x, episode.query_x, task.unlabelled(rng, 2, 3).flatten(0, 1)):
        assert torch.equal((x - x.floor()) * 16, task.permutation.float().expand_as(x))
    # Labels are those of the pool.
    label_of = dict(zip(task.pool.tolist(), task.labels.tolist(), strict=True))
    assert [label_of[i] for i in support.tolist()] == episode.support_y.tolist()
    assert [label_of[i] for i in query.tolist()] == episode.query_y.tolist()
    if labeller == "true":
        assert torch.equal(task.classes[episode.support_y], dataset.y[support])


def test_every_suitable_class_and_data_set_is_drawn():
    rng = generator()
    tasks = [source(numbered(), numbered(7, inputs=9, name="wide")).draw(rng) for _ in range(60)]
    assert {(task.dataset.name, task.inputs, task.ways) for task in tasks} == {("toy", 6, 3), ("wide", 9, 3)}
    assert {c for task in tasks if task.inputs == 6 for c in task.classes.tolist()} == set(range(5))


def test_unlabelled_batches():
    rng = generator()
    task = source().draw(rng)
    batches = examples(task.unlabelled(rng, 200, 10))
    assert batches.shape == (200, 10)
    assert all(len(set(batch)) == 10 for batch in batches.tolist())
    counts = torch.bincount(batches.flatten(), minlength=40)
    assert set(counts.nonzero().flatten().tolist()) == set(task.pool.tolist())
    # 2000 draws over 24 examples: 83 each, standard deviation below 7
    assert (counts[task.pool] - 2000 / 24).abs().max() < 35
    assert task.unlabelled(rng, 2, 100).shape == (2, 100, 6)
    assert task.unlabelled(rng, 0, 10).shape == (0, 10, 6)


def test_the_order_of_examples_does_not_tell_their_class():
    rng = generator()
    task = source().draw(rng)
    first = {task.episode(rng).query_y[0].item() for _ in range(30)}
    assert first == {0, 1, 2}


def test_equal_generators_give_equal_tasks_and_episodes():
    a, b = (source(labeller="shuffled").draw(generator(3)) for _ in range(2))
    for key, value in a.state().items():
        assert torch.equal(value, b.state()[key])
    assert torch.equal(a.unlabelled(generator(4), 3, 5), b.unlabelled(generator(4), 3, 5))
    for left, right in zip(a.episode(generator(5)), b.episode(generator(5)), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(a.episode(generator(5)).support_x, a.episode(generator(6)).support_x)


def test_labeller_leaves_the_rest_of_the_draw_alone():
    true, shuffled = (source(labeller=labeller).draw(generator(1)) for labeller in ("true", "shuffled"))
    assert torch.equal(true.pool, shuffled.pool)
    assert torch.equal(true.permutation, shuffled.permutation)
    assert not torch.equal(true.labels, shuffled.labels)


def test_shuffled_labels_say_nothing_about_classes():
    true = torch.arange(10).repeat_interleave(300)
    labels = ShuffledLabels().labels(true, generator())
    assert torch.bincount(labels).tolist() == [300] * 10
    assert abs((labels == true).float().mean().item() - 0.1) < 0.03
    assert torch.equal(ShuffledLabels().labels(true, generator()), labels)


@pytest.mark.parametrize("labeller", SEEING)
def test_restore(labeller):
    drawn_from = source(numbered(), numbered(6, inputs=4), labeller=labeller)
    for seed in range(5):
        task = drawn_from.draw(generator(seed))
        again = drawn_from.restore(task.state())
        assert again.dataset is task.dataset
        assert again.dataset_index == task.dataset_index
        assert torch.equal(again.pool, task.pool)
        for left, right in zip(task.episode(generator()), again.episode(generator()), strict=True):
            assert torch.equal(left, right)
        assert torch.equal(task.unlabelled(generator(), 2, 4), again.unlabelled(generator(), 2, 4))


def test_restore_refuses_the_state_of_another_source():
    state = source(numbered(), numbered(9, inputs=7)).draw(generator()).state()
    with pytest.raises(ValueError, match="data set 4, expected 0 to 0"):
        source().restore({**state, "dataset": torch.tensor(4)})
    state = source().draw(generator()).state()
    with pytest.raises(ValueError, match="toy: got a task of classes"):
        source().restore({**state, "classes": torch.tensor([0, 1, 17])})
    with pytest.raises(ValueError, match="toy: got a task of 24 examples and 6 inputs, expected 30 and 6"):
        source(numbered(per_class=10)).restore(state)


def test_fingerprint_covers_data_and_settings():
    prints = {
        source().fingerprint,
        source(ways=2).fingerprint,
        source(shots=1).fingerprint,
        source(queries=1).fingerprint,
        source(permute=False).fingerprint,
        source(labeller="shuffled").fingerprint,
        source(numbered(), numbered()).fingerprint,
        source(numbered(6)).fingerprint,
    }
    assert len(prints) == 8
    assert source().fingerprint in prints


def test_small_classes_are_left_out():
    y = torch.tensor([0] * 6 + [1] * 2 + [2] * 6)
    dataset = Dataset("uneven", torch.zeros(14, 3), y, None, ("a", "rare", "c"))
    for seed in range(10):
        assert sorted(source(dataset, ways=2).draw(generator(seed)).classes.tolist()) == [0, 2]
    with pytest.raises(ValueError, match=r"uneven: 2 of 3 classes .* \(class 'rare' has 2\).*ways=3.*lower shots or q"):
        source(dataset, ways=3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ways": 1}, "got ways=1, expected 2 or more: a task with one class"),
        ({"ways": 6}, "toy: 5 classes, expected at least ways=6"),
        ({"shots": 0}, "got shots=0 and queries=3, expected 1 or more"),
        ({"queries": -1}, "expected 1 or more of each"),
        ({"shots": 6}, "toy: 0 of 5 classes have the 9 examples .*lower shots or queries"),
        ({"labeller": "shufled"}, r"expected one of true, shuffled, .*\(did you mean shuffled\?\)"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        source(**settings)


def test_no_data_sets():
    with pytest.raises(ValueError, match="no data sets"):
        TaskSource((), 2, 1, 1, False)


def test_one_class():
    dataset = Dataset("single", torch.zeros(9, 3), torch.zeros(9, dtype=torch.int64), None, ("only",))
    with pytest.raises(ValueError, match="single: 1 class, expected at least ways=2"):
        source(dataset, ways=2)


def test_images_are_redrawn_whenever_they_are_drawn_and_before_their_inputs_are_permuted():
    x = torch.full((10, 16), 0.5)
    images = Dataset("images", x, torch.arange(10) % 2, (4, 4), ("a", "b"))
    table = Dataset("table", x, torch.arange(10) % 2, None, ("a", "b"))
    sources = [TaskSource((data,), 2, 2, 2, True, redraw="cut_out=0.5") for data in (images, table)]
    task, plain = (one.draw(generator(1)) for one in sources)
    again = sources[0].restore(task.state())
    back = task.permutation.argsort()
    for drawn in (task, again):
        batches, episode = drawn.unlabelled(generator(2), 3, 4), drawn.episode(generator(2))
        for one in (*batches, episode.support_x, episode.query_x):
            holes = one[:, back].view(-1, 4, 4) == 0
            assert len({tuple(hole.flatten().tolist()) for hole in holes}) > 1
            for hole in holes:  # a rectangle in the image, not scattered pixels
                assert torch.equal(hole, hole.any(1)[:, None] & hole.any(0)[None])
    assert torch.equal(plain.unlabelled(generator(2), 3, 4), torch.full((3, 4, 16), 0.5))
    assert sources[0].fingerprint != TaskSource((images,), 2, 2, 2, True).fingerprint
    with pytest.raises(ValueError, match=r"got augmentation 'cutout=0.5'"):
        TaskSource((images,), 2, 2, 2, True, redraw="cutout=0.5")


def test_an_episode_may_have_its_own_size():
    task = source().draw(generator())
    episode = task.episode(generator(), shots=1, queries=7)
    assert (len(episode.support_x), len(episode.query_x)) == (3, 21)
    with pytest.raises(ValueError, match=r"toy: got 2 shots and 7 queries, .*at most 8 together"):
        task.episode(generator(), queries=7)
