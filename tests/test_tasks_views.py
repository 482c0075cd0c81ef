"""The views of tasks: what they hold, what they are drawn from and in which order, and what is left out on request."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evaluation.comparison import task_bytes, tasks_identity
from evaluation.paired_tasks import PairedTask
from experiment.task_sources import evaluation_tasks, load_datasets, training_tasks
from outer_loop.config.file import load_config
from outer_loop.config.schema import Config
from tasks.dataset import Dataset
from tasks.labellers.fixed import FixedLabels
from tasks.source import TaskSource
from tasks.task import Task
from tasks.views import SWAPPABLE, VIEWS, at_each_step, draw_views, fixed_views, unknown_view, views_of
from update_rules.contract import SUPPORT, UNLABELLED, Rule
from update_rules.declared import VIEWS as KNOWN

CPU = torch.device("cpu")
CONFIG = Path(__file__).parent.parent / "configs" / "quickstart.yaml"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(classes: int = 4, per_class: int = 9) -> Dataset:
    """A data set whose example i is i in all of its 5 inputs."""
    y = torch.arange(classes).repeat(per_class)
    x = torch.arange(len(y)).float()[:, None].expand(-1, 5).contiguous()
    return Dataset("toy", x, y, None, tuple("abcdefgh"[:classes]))


def source(**changes: object) -> TaskSource:
    return TaskSource(**{"datasets": (numbered(),), "ways": 3, "shots": 2, "queries": 3, "permute": True} | changes)


def task(**changes: object) -> Task:
    return source(**changes).draw(seeded(1))


def rows(x: torch.Tensor) -> set[int]:
    return set(x[..., 0].long().flatten().tolist())


def test_the_table_has_the_names_that_rules_speak_in_and_no_labels_of_queries() -> None:
    assert list(VIEWS) == [UNLABELLED, *SUPPORT, "query_x", "unlabelled_set"]
    assert all(view.name == name for name, view in VIEWS.items())
    assert [name for name, view in VIEWS.items() if view.labels] == ["support_y"]
    assert SWAPPABLE == ("query_x", "unlabelled_set")
    assert [name for name, view in VIEWS.items() if not view.fixed] == [UNLABELLED]
    for view in VIEWS.values():
        assert [view.of_task, view.of_episode, view.beside].count(None) == 2


@settings(deadline=None, max_examples=30)
@given(
    names=st.sets(st.sampled_from(list(VIEWS))),
    steps=st.integers(1, 4),
    batch=st.integers(1, 40),
    episodes=st.integers(1, 3),
    transductive=st.booleans(),
)
def test_shapes_and_no_other_views(names: set[str], steps: int, batch: int, episodes: int, transductive: bool) -> None:
    one = task(transductive=transductive, datasets=(numbered(per_class=30),), unlabelled_shots=4)
    views, drawn = draw_views(one, names, seeded(), steps=steps, batch=batch, episodes=episodes, device=CPU)
    shapes = {"unlabelled": (batch, 5), "support_x": (6, 5), "support_y": (6,), "query_x": (9, 5)}
    shapes["unlabelled_set"] = (12, 5)
    assert {name: tuple(view.shape) for name, view in views.items()} == {name: (steps, *shapes[name]) for name in names}
    assert list(views) == [name for name in VIEWS if name in names]
    assert len(drawn) == episodes
    fixed = [view for view in views_of(names) if view.fixed]
    assert len({id(episode) for episode in drawn}) == (1 if fixed else episodes)
    for view in fixed:
        for step in views[view.name]:
            assert torch.equal(step, views[view.name][0])
            assert view.of_episode is None or torch.equal(step, view.of_episode(drawn[0]))


@pytest.mark.parametrize("consumes", [(UNLABELLED,), SUPPORT, (), (UNLABELLED, *SUPPORT), ("query_x",)])
def test_batches_are_drawn_first_and_then_the_episodes(consumes: tuple[str, ...]) -> None:
    one, draw = task(), seeded(2)
    by_hand = {UNLABELLED: one.unlabelled(draw, 4, 7)} if UNLABELLED in consumes else {}
    fixed = any(name != UNLABELLED for name in consumes)
    episodes = [one.episode(draw) for _ in range(1 if fixed else 3)]
    again = seeded(2)
    views, drawn = draw_views(one, consumes, again, steps=4, batch=7, episodes=3)
    assert torch.equal(again.get_state(), draw.get_state())
    for name, view in by_hand.items():
        assert torch.equal(view, views[name])
    for episode, expected in zip(drawn, episodes * (3 // len(episodes)), strict=True):
        assert all(map(torch.equal, episode, expected))


def test_fixed_views_take_no_memory_and_a_leading_dimension_of_tasks() -> None:
    one = task()
    episode, picked = one.episode(seeded()), one.pick(seeded())
    views = fixed_views(one, ("unlabelled", "support_x", "query_x"), picked, episode, seeded())
    assert list(views) == ["support_x", "query_x"]
    repeated = at_each_step(views, 1000)
    assert repeated["support_x"].shape == (1000, 6, 5)
    assert repeated["support_x"].untyped_storage().nbytes() == episode.support_x.untyped_storage().nbytes()


def test_a_name_of_no_view_is_one_line_that_says_which_there_are() -> None:
    assert unknown_view(tuple(VIEWS)) is None
    for name, message in (
        (
            "query_y",
            r"got view 'query_y', expected unlabelled, .*, query_x, unlabelled_set \(did you mean query_x\?\)",
        ),
        ("everything", r"got view 'everything', expected unlabelled, support_x, support_y, query_x, unlabelled_set$"),
    ):
        for call in (
            lambda name=name: views_of([name]),
            lambda name=name: fixed_views(task(), [name], task().pick(seeded()), task().episode(seeded()), seeded()),
            lambda name=name: draw_views(task(), [name], seeded(), steps=1, batch=2, episodes=1),
        ):
            with pytest.raises(ValueError, match=message):
                call()


def test_the_labels_of_queries_reach_no_view() -> None:
    one = task(unlabelled_shots=1)
    episode, picked = one.episode(seeded()), one.pick(seeded())
    other = episode._replace(query_y=episode.query_y.flip(0))
    assert not torch.equal(other.query_y, episode.query_y)
    both = [fixed_views(one, tuple(VIEWS), picked, some, seeded()) for some in (episode, other)]
    assert all(torch.equal(both[0][name], both[1][name]) for name in both[0])


class Nosy(Rule):
    """A rule that asks for what no rule gets."""

    name = "nosy"
    consumes = ("unlabelled", "query_y")


def test_a_config_whose_rule_asks_for_other_views_is_refused() -> None:
    message = rf"got '{__name__}:Nosy', expected a rule of views that tasks have: got view 'query_y', expected unlabell"
    with pytest.raises(ValidationError, match=r"a rule of views that tasks have: got view 'query_y'"):
        Config.model_validate({"rule": {"name": f"{__name__}:Nosy"}})
    with pytest.raises(ValueError, match=f"config key rule.name: {message}"):
        load_config(CONFIG, [f"rule={{name: '{__name__}:Nosy', options: {{}}}}"])


@pytest.mark.parametrize("episodes", [1, 2])
def test_batches_leave_out_the_queries_on_request(episodes: int) -> None:
    for seed in range(10):
        one = source(transductive=False).draw(seeded(seed))
        views, drawn = draw_views(one, (UNLABELLED,), seeded(seed), steps=40, batch=8, episodes=episodes)
        queries = set().union(*(rows(episode.query_x) for episode in drawn))
        assert rows(views[UNLABELLED]) == set(one.pool.tolist()) - queries
        assert all(len(rows(batch)) == 8 for batch in views[UNLABELLED])
    views, (episode,) = draw_views(task(), (UNLABELLED,), seeded(), steps=40, batch=8, episodes=1)
    assert rows(episode.query_x) <= rows(views[UNLABELLED])


def test_evaluation_leaves_out_the_queries_of_the_task_on_request() -> None:
    plain, inductive = (PairedTask(source(transductive=chosen), 5, 0) for chosen in (True, False))
    assert all(map(torch.equal, plain.episode, inductive.episode))
    assert torch.equal(plain.task.pool, inductive.task.pool)
    queries, pool = rows(plain.episode.query_x), set(plain.task.pool.tolist())
    stream = inductive.stream(6)
    assert set().union(*(rows(next(stream)) for _ in range(40))) == pool - queries
    assert rows(inductive.unlabelled) == pool - queries
    assert len(inductive.unlabelled) == len(pool) - len(queries)
    assert rows(plain.unlabelled) == pool


def test_an_episode_whose_queries_were_not_left_out_is_refused() -> None:
    paired = PairedTask(source(transductive=False), 5, 0)
    assert paired.episode.query_x.shape == (9, 5)
    with pytest.raises(ValueError, match=r"toy: got an episode of 1 shots and 3 queries with queries among") as caught:
        paired.task.episode(seeded(), 1)
    assert "\n" not in str(caught.value)


def test_a_pool_that_is_all_queries_is_refused() -> None:
    one = task(shots=1, queries=8, transductive=False)
    with pytest.raises(ValueError, match=r"toy: all 27 examples of a task are queries.*tasks.transductive=true"):
        one.without(one.pool)
    everything = source(ways=4, shots=1, queries=8, datasets=(numbered(4, 9),), transductive=False).draw(seeded())
    assert draw_views(everything, ("support_x",), seeded(), steps=1, batch=2, episodes=1)[0]["support_x"].shape == (
        1,
        4,
        5,
    )
    with pytest.raises(ValueError, match=r"all 36 examples of a task are queries"):
        draw_views(everything, (UNLABELLED,), seeded(), steps=1, batch=2, episodes=40)


def test_what_is_left_out_is_part_of_the_identity() -> None:
    both = [source(), source(transductive=False)]
    assert both[0].fingerprint != both[1].fingerprint
    paired = [PairedTask(one, 0, 0) for one in both]
    drawn = [{0: task_bytes(one, one.episode)} for one in paired]
    assert drawn[0] == drawn[1]
    assert len({tasks_identity(one, 2, found) for one, found in zip(both, drawn, strict=True)}) == 2


def test_the_config_decides_for_training_and_evaluation() -> None:
    for chosen in (True, False):
        settings = {"tasks": {"sources": ["digits"], "size": 4, "transductive": chosen}}
        config = Config.model_validate(settings)
        loaded = load_datasets(config, config.tasks.sources)
        made = [training_tasks(config, loaded), evaluation_tasks(config, loaded["digits"])]
        assert [one.transductive for one in made] == [chosen, chosen]
        assert [one.draw(seeded()).transductive for one in made] == [chosen, chosen]
    assert Config().tasks.transductive


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 99), shots=st.integers(1, 3), distractors=st.integers(0, 2))
def test_a_set_without_labels_lies_beside_the_episode(seed: int, shots: int, distractors: int) -> None:
    one = task(datasets=(numbered(classes=5),), unlabelled_shots=shots, distractors=distractors)
    picked = one.pick(seeded(seed))
    found = rows(one.unlabelled_set(picked, seeded(seed)))
    assert len(found) == (one.ways + distractors) * shots
    assert not found & {*picked.support.tolist(), *picked.query.tolist()}
    classes = torch.bincount(one.dataset.y[sorted(found)], minlength=5)
    assert (classes[one.classes] == shots).all()
    assert int((classes > 0).sum()) == one.ways + distractors
    assert torch.equal(one.unlabelled_set(picked, seeded(seed)), one.unlabelled_set(picked, seeded(seed)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"toy: got unlabelled_shots=0 and distractors=0, expected unlabelled_shots of 1 or more for a set"),
        (
            {"unlabelled_shots": 5},
            r"but 4 examples of a class are left beside 6 support and 9 query examples; lower unlab",
        ),
        ({"unlabelled_shots": 1, "distractors": 2}, r"but 1 other classes have as many examples; lower distractors"),
    ],
)
def test_a_set_that_cannot_be_drawn_is_one_line(settings: dict[str, int], message: str) -> None:
    one = replace(task(), **settings)
    with pytest.raises(ValueError, match=message) as caught:
        one.unlabelled_set(one.pick(seeded()), seeded())
    assert "\n" not in str(caught.value)


def test_a_source_takes_classes_that_have_enough_for_the_set() -> None:
    with pytest.raises(ValueError, match=r"the 10 examples that shots=2 and queries=3 and unlabelled_shots=5 take"):
        source(unlabelled_shots=5)
    assert source(unlabelled_shots=1).fingerprint != source().fingerprint


def test_swapped_views_are_of_a_task_without_a_common_class() -> None:
    one = task(datasets=(numbered(classes=6),), unlabelled_shots=2, swapped=("query_x", "unlabelled_set"))
    names = ("support_x", "query_x", "unlabelled_set")
    views, (episode,) = draw_views(one, names, seeded(), steps=1, batch=1, episodes=1)
    pool = set(one.pool.tolist())
    assert rows(views["support_x"][0]) <= pool
    assert torch.equal(views["support_x"][0], episode.support_x)
    assert rows(episode.query_x) <= pool
    for name in names[1:]:
        assert not rows(views[name][0]) & pool
    few = task(swapped=("query_x",))
    with pytest.raises(ValueError, match=r"toy: got swapped=query_x, but no other task to take it from: 1 classes"):
        draw_views(few, ("query_x",), seeded(), steps=1, batch=1, episodes=1)


def test_where_classes_are_the_same_another_task_is_of_another_data_set() -> None:
    several = tuple(replace(numbered(), name=f"toy {place}", x=numbered().x + 1000 * place) for place in range(3))
    one = source(datasets=several, labeller=FixedLabels(), swapped=("query_x",)).draw(seeded(1))
    assert one.classes.tolist() == [0, 1, 2]
    views, (episode,) = draw_views(one, ("query_x",), seeded(), steps=1, batch=1, episodes=1)
    assert not rows(views["query_x"][0]) & rows(episode.query_x)
    assert torch.equal(one.dataset.y[one.pool], one.labels)


def test_rules_know_all_views_by_name():
    assert set(VIEWS) == set(KNOWN)
