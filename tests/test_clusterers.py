"""The contract of rules that cluster whole sets, the relations they see, and the partitions that come of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from torch import Tensor
from torch.func import functional_call

from examples import CLUSTERERS as EXAMPLES
from examples import ClustererExample
from inner_loop.clustering import MOST, cluster
from inner_loop.state import stack_states
from inner_loop.unroll import theta_of, unroll
from outer_loop.readouts.pairwise import Pairwise, expected_rand
from update_rules.clustering.partition import expected_index, moved_on, partition
from update_rules.clustering.points import scaled
from update_rules.clustering.recurrent_clusterer import reading
from update_rules.clustering.relations import k_means, pairs_of, place_of, relations
from update_rules.contract import Problem, Rule, State
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule, save_rule

QUERIES = 14
Points = NDArray[np.float64]


@pytest.fixture(params=EXAMPLES, ids=lambda one: one.name)
def example(request: pytest.FixtureRequest) -> ClustererExample:
    found: ClustererExample = request.param
    return found


def made(example: ClustererExample) -> Rule:
    """In float64, moved a little from where it starts."""
    rule = make_rule(example.name, **example.options).double()
    draw = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in rule.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64), alpha=0.1)
    return rule


@pytest.fixture
def rule(example: ClustererExample) -> Rule:
    return made(example)


@pytest.fixture(params=[one for one in EXAMPLES if one.pairs], ids=lambda one: one.name)
def paired(request: pytest.FixtureRequest) -> Rule:
    """One whose outputs are logits of pairs."""
    return made(request.param)


def problem_of(points: int = QUERIES, inputs: int = 3, ways: int = 2) -> Problem:
    return Problem(inputs, None, ways, views=(("query_x", (points, inputs)),))


def points(count: int = QUERIES, inputs: int = 3, seed: int = 1) -> Tensor:
    """Two clouds in random order."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(count, inputs, generator=draw, dtype=torch.float64)
    x[: count // 2] += 3
    return x[torch.randperm(count, generator=draw)]


def after(rule: Rule, problem: Problem, x: Tensor, steps: int = 2) -> State:
    state = {name: value.double() for name, value in rule.init_state(problem, torch.Generator().manual_seed(0)).items()}
    for phase in rule.phases(steps):
        for _ in range(phase.steps):
            state = rule.step(problem, state, {"query_x": x}, phase.name)
    return state


def test_outputs_are_a_logit_for_each_pair_the_same_both_ways(paired: Rule) -> None:
    assert (paired.gives, paired.layers, paired.consumes) == ("pairs", {"none"}, ("query_x",))
    for problem in (problem_of(), problem_of(9, 5, 0), problem_of(2, 1, 2)):
        (_, shape), *_ = problem.views
        state = after(paired, problem, points(*shape))
        logits = paired.outputs(problem, state)
        assert logits.shape == (shape[0], shape[0])
        assert logits.isfinite().all()
        torch.testing.assert_close(logits, logits.T)


def test_a_rule_that_clusters_wants_to_know_the_size_of_a_set(rule: Rule) -> None:
    with pytest.raises(ValueError, match=r"expected tasks\.points for a rule that clusters"):
        rule.init_state(Problem(3), torch.Generator())


def test_the_same_arguments_give_the_same_bits(rule: Rule) -> None:
    x, problem = points(), problem_of()
    torch.manual_seed(1)
    first = rule.outputs(problem, after(rule, problem, x))
    torch.manual_seed(2)
    assert torch.equal(rule.outputs(problem, after(rule, problem, x)), first)


def test_the_number_of_clusters_counts_and_may_be_left_out(paired: Rule) -> None:
    x = points()
    found = [
        paired.outputs(one, after(paired, one, x))
        for one in (problem_of(ways=2), problem_of(ways=3), problem_of(ways=0))
    ]
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("ways", [0, 2])
def test_place_scale_and_turning_do_not_matter(paired: Rule, ways: int) -> None:
    x, problem = points(), problem_of(ways=ways)
    turned = torch.linalg.qr(points(3, 3, seed=5))[0]
    plain = paired.outputs(problem, after(paired, problem, x))
    if "inputs" in paired.equivariant:
        torch.testing.assert_close(paired.outputs(problem, after(paired, problem, 7 * x @ turned + 2)), plain)


def test_the_order_of_points_does_not_matter_to_a_rule_that_says_so(paired: Rule) -> None:
    x, problem = points(), problem_of()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(3))
    plain = paired.outputs(problem, after(paired, problem, x))[order][:, order]
    moved = paired.outputs(problem, after(paired, problem, x[order]))
    assert torch.allclose(plain, moved, rtol=0, atol=1e-9) == ("examples" in paired.equivariant)


def test_points_are_read_by_their_places_also_where_distances_are_equal() -> None:
    """A grid, whose neighbours are all as far; and a cluster is read as a whole before the next one."""
    grid = np.stack(np.meshgrid(np.arange(4.0), np.arange(3.0)), -1).reshape(-1, 2)
    order, away = reading(grid, grid[:, 0])
    moved = np.random.default_rng(0).permutation(len(grid))
    other, again = reading(grid[moved], grid[moved][:, 0])
    np.testing.assert_array_equal(grid[moved][other], grid[order])
    np.testing.assert_array_equal(again, away[moved])
    two = np.concatenate([grid, grid + 50])[np.random.default_rng(1).permutation(24)]
    order, away = reading(two, two[:, 0])
    assert (two[order[:12]] >= 50).all()
    assert int(away.argmax()) == order[12]


def test_gradients_reach_every_parameter_and_are_those_of_finite_differences(paired: Rule) -> None:
    x, problem = points(), problem_of()
    draw = torch.Generator().manual_seed(6)
    weights = torch.randn(QUERIES, QUERIES, generator=draw, dtype=torch.float64)
    theta = {name: value.detach() for name, value in paired.named_parameters()}
    direction = {name: torch.randn(v.shape, generator=draw, dtype=torch.float64) for name, v in theta.items()}
    state = {name: value.double() for name, value in paired.init_state(problem, draw).items()}

    def loss(moved: dict[str, Tensor]) -> Tensor:
        found = state
        for phase in paired.phases(2):
            for _ in range(phase.steps):
                found = functional_call(paired, moved, ("step", problem, found, {"query_x": x}, phase.name))
        return (functional_call(paired, moved, ("outputs", problem, found)) * weights).sum()

    leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
    gradients = torch.autograd.grad(loss(leaves), list(leaves.values()))
    for name, gradient in zip(leaves, gradients, strict=True):
        assert gradient.isfinite().all(), name
        assert gradient.any(), name
    slope = sum(float((g * direction[name]).sum()) for name, g in zip(leaves, gradients, strict=True))
    h = 1e-6
    ahead, behind = (loss({n: v + way * h * direction[n] for n, v in theta.items()}) for way in (1, -1))
    assert slope == pytest.approx(float(ahead - behind) / (2 * h), rel=1e-4)


def test_tasks_at_once_are_each_task_alone(rule: Rule) -> None:
    problem, both = problem_of(), [points(seed=1), points(seed=2)]
    start = stack_states([rule.init_state(problem, torch.Generator().manual_seed(0)) for _ in both])
    views = {"query_x": torch.stack(both).expand(2, 2, *both[0].shape)}
    state = {name: value.double() for name, value in start.items()}
    with torch.no_grad():
        (together,) = unroll(rule, theta_of(rule), problem, state, views, read_points=[2])
    for place, x in enumerate(both):
        alone = rule.outputs(problem, after(rule, problem, x))
        torch.testing.assert_close(rule.outputs(problem, {n: v[place] for n, v in together.items()}), alone)


def test_a_saved_rule_clusters_alike(rule: Rule, tmp_path: Path) -> None:
    save_rule(tmp_path / "rule.safetensors", rule.float(), {})
    again, x = load_rule(tmp_path / "rule.safetensors"), points(40).numpy()
    first, second = (cluster(one, x, 3, 1, torch.Generator().manual_seed(0)).labels for one in (rule.float(), again))
    assert (first == second).all()


def test_larger_sets_than_a_rule_sees_are_clustered_by_their_nearest_points(rule: Rule) -> None:
    x = points(MOST + 70).numpy()
    found = cluster(rule.float(), x, 2, 1, torch.Generator().manual_seed(0)).labels
    assert found.shape == (MOST + 70,)
    assert set(found.tolist()) == {0, 1}


def test_relations_know_no_order_place_scale_or_turn() -> None:
    x = points(40).numpy()
    order = np.random.default_rng(0).permutation(40)
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    for clusters in (0, 3):
        pairs, of_points = relations(x, clusters)
        moved = relations(5 * x[order] @ turned - 8, clusters)
        first, second = pairs_of(40)
        np.testing.assert_allclose(moved.pairs, pairs[place_of(40)[order[first], order[second]]], atol=1e-4)
        np.testing.assert_allclose(moved.points, of_points[order], atol=1e-4)


def test_relations_of_equal_points_and_of_two_are_finite() -> None:
    for x in (np.zeros((5, 2)), np.array([[0.0], [1.0]]), np.repeat(points(4).numpy(), 3, 0)):
        for clusters in (0, 2):
            found = relations(x, clusters)
            assert all(np.isfinite(one).all() for one in found)


def test_relations_hold_what_linkages_and_k_means_make_of_a_set() -> None:
    """The last columns are the cuts of linkages, by scipy, and k-means, by scikit-learn, of three clouds."""
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=(12, 2)) * 0.3 + middle for middle in ((0, 0), (4, 0), (0, 4))])
    pairs = relations(x, 3).pairs
    ward = fcluster(linkage(x, "ward"), 3, "maxclust")
    means = KMeans(3, n_init=10, random_state=0).fit_predict(x)
    for column, labels in ((-3, ward), (-1, means)):
        first, second = pairs_of(len(x))
        np.testing.assert_array_equal(pairs[:, column] > 0, labels[first] == labels[second])


def test_k_means_ends_where_no_point_moves() -> None:
    draw = np.random.default_rng(0)
    x = np.concatenate([draw.normal(size=(20, 2)) * 0.2 + middle for middle in ((0, 0), (3, 3))])
    found = k_means(x, np.arange(40) % 2)
    assert adjusted_rand_score(np.arange(40) // 20, found) == 1


def test_scaled_points_have_mean_0_and_variance_1_and_constants_stay_0() -> None:
    x = scaled(3 * points(30).numpy() + 5)
    assert x.mean(0) == pytest.approx(0)
    assert (x**2).mean() == pytest.approx(1)
    assert not scaled(np.full((4, 2), 7.0)).any()


def chances_of(labels: NDArray[np.int64], sure: float = 0.9) -> Points:
    return np.where(labels[:, None] == labels[None], sure, 1 - sure)


def test_a_partition_is_found_from_chances_with_and_without_its_number() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 2, 1, 0, 2, 2, 2])
    noisy = chances_of(labels) + 0.05 * np.random.default_rng(0).normal(size=(12, 12))
    noisy = ((noisy + noisy.T) / 2).clip(0, 1)
    for clusters in (3, 0):
        found = partition(noisy, clusters)
        assert adjusted_rand_score(labels, found) == 1
        assert sorted(set(found.tolist())) == [0, 1, 2]
    assert len(set(partition(noisy, 5).tolist())) == 5
    assert not partition(np.full((6, 6), 0.999), 0).any()  # one cluster, where all belong together


def test_the_expected_index_is_the_index_where_chances_are_sure() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        labels, found = draw.integers(3, size=30), draw.integers(4, size=30)
        chances = chances_of(labels, 1.0)
        expected = adjusted_rand_score(labels, found)
        assert expected_index(chances, found) == pytest.approx(expected)
        together = torch.from_numpy(found[:, None] == found[None]).double()
        counts = 1 - torch.eye(30, dtype=torch.float64)
        assert float(expected_rand(together, torch.from_numpy(chances), counts)) == pytest.approx(expected)


def test_points_move_to_where_they_belong_and_no_cluster_is_lost() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    wrong = np.array([0, 0, 1, 1, 1, 1])
    assert (moved_on(chances_of(labels), wrong) == labels).all()
    alone = np.array([0, 1, 1, 1, 1, 1])
    assert len(set(moved_on(np.full((6, 6), 0.9), alone).tolist())) == 2


def test_sure_and_right_is_read_as_1_and_sure_and_wrong_as_less_than_chance() -> None:
    y, readout = torch.arange(12) % 3, Pairwise()
    sure = 40 * (y[:, None] == y[None]).double() - 20
    right, wrong = (readout.read(None, y[:0], way * sure, y, 3) for way in (1, -1))
    assert (float(right.loss), float(right.accuracy)) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert float(wrong.loss) > 20
    assert float(wrong.accuracy) < 0


def test_noise_counts_for_nothing() -> None:
    """Rows of no class do not change the reading, whatever is said of them."""
    draw, readout = torch.Generator().manual_seed(0), Pairwise()
    y = torch.tensor([0, 0, 1, 1, 1])
    logits = torch.randn(5, 5, generator=draw)
    more = torch.randn(7, 7, generator=draw)
    more[:5, :5] = logits
    plain = readout.read(None, y[:0], logits, y, 2)
    found = readout.read(None, y[:0], more, torch.cat([y, torch.tensor([-1, -1])]), 2)
    torch.testing.assert_close(found.loss, plain.loss)
    torch.testing.assert_close(found.accuracy, plain.accuracy)
