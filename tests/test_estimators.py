"""The contract of outer estimators, which every one in the registry keeps; and runs by evolution strategies."""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from estimator_toys import RATE, WAYS, Oja, plain_loss, unroll_of
from few_shot_settings import MAML, PROTONET
from runs import Arguments, assert_same_run, command, finish, kill_after, lines, theta, trainer_of
from torch import Tensor
from torch.func import vmap

from examples import CHOOSING, EstimatorExample
from examples import ESTIMATORS as EXAMPLES
from inner_loop.unroll import theta_of
from outer_loop.config.file import load_config
from outer_loop.estimators.contract import Carried, Estimate, Estimator, TruncatedUnroll
from outer_loop.estimators.registry import ESTIMATORS
from outer_loop.readouts.metz_objective import metz_objective
from outer_loop.readouts.normalisation import Normalisation
from outer_loop.readouts.objective import Objective
from tasks.task import Episode
from unsupervised_update_rules.commands import meta_train
from update_rules.contract import Problem, Rule, State, StepViews
from update_rules.local.neuron_local import NeuronLocal
from update_rules.registry import make_rule
from update_rules.rule_file import load_rule

LOST = 7.0
"""An input that only ``Edged`` minds."""

every = pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
descending = pytest.mark.parametrize("example", [one for one in EXAMPLES if one.descends], ids=lambda one: one.name)


class Edged(Oja):
    """Not finite for a rate above the one that it starts with, on a batch that begins with LOST."""

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        after = super().step(problem, state, views, phase)
        lost = (views["unlabelled"][0, 0] == LOST) & (self.rate > RATE)
        return {**after, "b1": torch.where(lost, torch.nan, after["b1"])}


class Cliff(Oja):
    """Finite everywhere, with an infinite slope in θ for examples of zeros alone."""

    def step(self, problem: Problem, state: State, views: StepViews, phase: str) -> State:
        after = super().step(problem, state, views, phase)
        return {**after, "b1": after["b1"] + torch.sqrt(views["unlabelled"].sum() * self.rate * self.rate)}


def small(example: EstimatorExample) -> Rule:
    return Oja() if example.few_numbers else NeuronLocal(hidden=5, error_channels=2, readout_channels=1)


def made(example: EstimatorExample, normalisation: str = "batch", recompute: bool = True) -> Estimator:
    objective = Objective(normalisation=Normalisation(normalisation))
    return ESTIMATORS.make(example.name, example.options).configured(objective, recompute=recompute)


def estimate(
    estimator: Estimator, rule: Rule, unrolls: Sequence[TruncatedUnroll], memory: dict[str, Tensor]
) -> Estimate:
    """What ``estimator`` makes of ``unrolls``, whose States are where trajectories start."""
    draw = torch.Generator().manual_seed(0)
    begun = [replace(one, carried=estimator.start(rule, theta_of(rule), one.carried, draw)) for one in unrolls]
    return estimator.estimate(rule, theta_of(rule), begun, memory)


def again(unrolls: Sequence[TruncatedUnroll]) -> list[TruncatedUnroll]:
    """The same with generators of their own, in the same state."""
    return deepcopy(list(unrolls))


def assert_same(one: Estimate, other: Estimate) -> None:
    """To the bit."""
    assert one.direction.keys() == other.direction.keys()
    for name, value in one.direction.items():
        assert torch.equal(value, other.direction[name]), name
    assert (one.meta_loss, one.accuracy, one.dropped) == (other.meta_loss, other.accuracy, other.dropped)
    for mine, theirs in zip(one.carried, other.carried, strict=True):
        assert (mine is None) == (theirs is None)
        assert mine is None or all(torch.equal(mine[name], theirs[name]) for name in mine)


def assert_close(one: Carried | dict[str, Tensor] | None, other: dict[str, Tensor] | None) -> None:
    assert one is not None
    assert other is not None
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-5, msg=name)


def test_every_estimator_of_the_registry_is_under_test() -> None:
    assert {one.name for one in EXAMPLES} | {CHOOSING["estimator"]} >= set(ESTIMATORS.names)


@every
@pytest.mark.parametrize("recompute", [True, False])
def test_it_is_pure_and_draws_from_the_generators_of_its_unrolls_alone(
    example: EstimatorExample, recompute: bool
) -> None:
    rule = small(example)
    first, second = (unroll_of(rule, 0), unroll_of(rule, 1)), (unroll_of(rule, 0), unroll_of(rule, 1))
    weights = {name: value.detach().clone() for name, value in rule.named_parameters()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = estimate(made(example, recompute=recompute), rule, first, {})
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert_same(estimate(made(example, recompute=recompute), rule, second, {}), found)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.generator.get_state(), other.generator.get_state())
    for name, value in rule.named_parameters():
        assert torch.equal(value, weights[name])
        assert value.grad is None


def test_each_task_has_a_gradient_of_its_own_that_is_shortened() -> None:
    rule = Oja()
    unrolls = [unroll_of(rule, seed) for seed in range(3)]
    alone = [estimate(ESTIMATORS.make("truncated_backprop", {}), rule, [one], {}).direction for one in unrolls]
    lengths = [torch.cat([part.flatten() for part in one.values()]).norm() for one in alone]
    bound = float(sorted(lengths)[1])
    found = estimate(ESTIMATORS.make("truncated_backprop", {"task_clip": bound}), rule, unrolls, {})
    for name, value in found.direction.items():
        shares = [min(1.0, bound / float(length)) for length in lengths]
        expected = sum(share * one[name] for share, one in zip(shares, alone, strict=True)) / 3
        torch.testing.assert_close(value, expected)


@every
def test_what_is_kept_is_the_plain_unroll_under_theta(example: EstimatorExample) -> None:
    """States that are carried on and the reported loss are those of θ itself, for tasks of several shapes."""
    rule = small(example)
    unrolls = [unroll_of(rule, 0), unroll_of(rule, 1), unroll_of(rule, 2, sizes=(7, 4)), unroll_of(rule, 3)]
    plain = [plain_loss(rule, theta_of(rule), one) for one in unrolls]
    found = estimate(made(example), rule, unrolls, {})
    assert found.dropped == []
    assert found.kept == 4
    assert found.meta_loss == pytest.approx(sum(float(loss.detach()) for loss, _ in plain) / 4, rel=1e-5)
    for carried, (_, state) in zip(found.carried, plain, strict=True):
        assert carried is not None
        assert_close({name: carried[name] for name in state}, {name: value.detach() for name, value in state.items()})
        assert not any(value.requires_grad for value in carried.values())
    assert [one["w1"].shape for one in found.carried if one] == [(6, 5), (6, 5), (7, 4), (6, 5)]
    assert found.direction.keys() == dict(rule.named_parameters()).keys()
    for name, value in rule.named_parameters():
        assert found.direction[name].shape == value.shape
        assert not found.direction[name].requires_grad


@every
def test_the_accuracy_is_the_share_of_queries_that_theta_reads_out(example: EstimatorExample) -> None:
    rule = small(example)
    unrolls = [unroll_of(rule, seed, reads=(3,)) for seed in range(3)]
    told = []
    for one in unrolls:
        _, state = plain_loss(rule, theta_of(rule), one)
        e = one.episodes[0]
        f = rule.features(one.problem, state, torch.cat([e.support_x, e.query_x]))
        told.append(float(metz_objective(f[:12], e.support_y, f[12:], e.query_y, WAYS, 0.1).accuracy_query))
    assert estimate(made(example), rule, unrolls, {}).accuracy == pytest.approx(sum(told) / 3)


@descending
@pytest.mark.parametrize(("weights", "normalisation"), [(None, "batch"), ((0.2, 0.8), "batch"), (None, "unlabelled")])
def test_the_direction_is_that_of_the_smoothed_loss(
    example: EstimatorExample, weights: tuple[float, ...] | None, normalisation: str
) -> None:
    """Of E[L(θ + σε)] over normal ε, whose slopes are taken by central differences with common random numbers.

    Without noise it is the gradient of the plain loop. With noise both sides are means, compared by their errors, which
    are small enough to tell a wrong sign, half of it and the gradient without noise apart.
    """
    rule = Oja()
    unrolls = [unroll_of(rule, seed, (4, 3), (1, 2), weights, normalisation) for seed in (0, 1)]
    own = {name: value.detach().double() for name, value in rule.named_parameters()}
    estimator = made(example, normalisation)
    loss = sum(plain_loss(rule, theta_of(rule), one)[0] for one in unrolls) / 2
    exact = torch.cat([grad.flatten() for grad in torch.autograd.grad(loss, list(rule.parameters()))])
    if not example.deviation:
        found = estimate(estimator, rule, unrolls, {}).direction
        torch.testing.assert_close(torch.cat([found[name].flatten() for name in own]), exact, rtol=1e-4, atol=1e-6)
        return

    draw = torch.Generator().manual_seed(5)
    directions = []
    for _ in range(60):  # of 50 copies of each trajectory, with noise of their own
        copies = [one for one in again(unrolls) for _ in range(50)]
        copies = [with_generator(one, int(torch.randint(2**40, (), generator=draw))) for one in copies]
        found = estimate(estimator, rule, copies, {}).direction
        directions.append(torch.cat([found[name].flatten() for name in own]).double())
    estimates = torch.stack(directions)

    size, step = 3000, 1e-3
    noise = {name: torch.randn(size, *value.shape, generator=draw, dtype=torch.float64) for name, value in own.items()}
    doubled = [in_double(one) for one in unrolls]

    def losses(shift: dict[str, Tensor]) -> Tensor:
        """[size] of L(θ + σε + shift)."""
        at = {name: value + example.deviation * noise[name] + shift[name] for name, value in own.items()}
        return vmap(lambda one_theta: sum(plain_loss(rule, one_theta, one)[0] for one in doubled) / len(doubled))(at)

    slopes = []
    for name, value in own.items():
        for place in range(value.numel()):
            shift = {other: torch.zeros_like(v) for other, v in own.items()}
            shift[name].view(-1)[place] = step
            back = {other: -v for other, v in shift.items()}
            slopes.append((losses(shift) - losses(back)) / (2 * step))
    expected = torch.stack(slopes, 1)

    def mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
        return values.mean(0), values.std(0) / len(values) ** 0.5

    (mean, error), (target, rounding) = mean_and_error(estimates), mean_and_error(expected)
    error = (error**2 + rounding**2).sqrt()
    assert ((mean - target).abs() <= 4 * error).all()
    along = target / target.norm()
    total = float((error * along).norm())
    assert 4 * total < 0.15 * float(target.norm()), "a factor of 2, or a sign, would show"
    assert float(((exact - target) * along).sum().abs()) > 4 * total, "and so would the loss without noise"


def with_generator(one: TruncatedUnroll, seed: int) -> TruncatedUnroll:
    return TruncatedUnroll(**{**vars(one), "generator": torch.Generator().manual_seed(seed)})


def in_double(one: TruncatedUnroll) -> TruncatedUnroll:
    """The same in float64."""

    def double(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.double() if value.is_floating_point() else value
        return Episode(*map(double, value)) if isinstance(value, Episode) else {k: double(v) for k, v in value.items()}

    changed = {"carried": double(one.carried), "views": double(one.views), "episodes": tuple(map(double, one.episodes))}
    return TruncatedUnroll(**{**vars(one), **changed})


@every
def test_a_trajectory_says_the_same_whatever_else_is_in_the_step(example: EstimatorExample) -> None:
    """So that ranks, who have a share each, descend along what one process would."""
    rule, estimator = small(example), made(example)
    unrolls = [unroll_of(rule, 0), unroll_of(rule, 1), unroll_of(rule, 2, sizes=(7, 4)), unroll_of(rule, 3)]
    alone = [estimate(estimator, rule, [one], {}) for one in again(unrolls)]
    together = estimate(estimator, rule, unrolls, {})
    for name, value in together.direction.items():
        mean = torch.stack([one.direction[name] for one in alone]).mean(0)
        torch.testing.assert_close(value, mean, rtol=1e-3, atol=1e-5, msg=name)
    assert together.meta_loss == pytest.approx(sum(one.meta_loss for one in alone) / 4, rel=1e-5)
    for mine, one in zip(together.carried, alone, strict=True):
        assert_close(mine, one.carried[0])
    streams = again([unroll_of(rule, 1)])
    estimate(estimator, rule, streams, {})
    assert torch.equal(streams[0].generator.get_state(), unrolls[1].generator.get_state())


@every
@pytest.mark.parametrize("poison", ["state", "batch", "query"])
def test_a_task_with_non_finite_numbers_is_left_out_as_if_it_had_not_been_there(
    example: EstimatorExample, poison: str
) -> None:
    rule, estimator = small(example), made(example)
    unrolls = [unroll_of(rule, 0), unroll_of(rule, 1), unroll_of(rule, 2)]
    rest = again([unrolls[0], unrolls[2]])
    if poison == "state":
        unrolls[1].carried["w1"][0, 0] = torch.inf
    elif poison == "batch":
        unrolls[1].views["unlabelled"][3, 0, 0] = torch.nan
    else:
        unrolls[1].episodes[0].query_x[0, 0] = torch.nan
    found = estimate(estimator, rule, unrolls, {})
    without = estimate(estimator, rule, rest, {})
    assert (found.dropped, found.kept) == ([1], 2)
    assert found.carried[1] is None
    assert found.meta_loss == pytest.approx(without.meta_loss, rel=1e-6)
    assert found.accuracy == pytest.approx(without.accuracy)
    rounding = 1e-5 if example.deviation else 0.0  # one that runs again without the lost is the same to the bit
    for name in without.direction:
        torch.testing.assert_close(found.direction[name], without.direction[name], rtol=rounding, atol=rounding / 100)
    for mine, theirs in zip((found.carried[0], found.carried[2]), without.carried, strict=True):
        assert_close(mine, theirs)


@every
def test_nothing_is_kept_when_every_task_is_lost(example: EstimatorExample) -> None:
    rule = small(example)
    lost = [unroll_of(rule, 0), unroll_of(rule, 1, sizes=(7, 4))]
    for one in lost:
        one.carried["w1"].fill_(torch.nan)
    found = estimate(made(example), rule, lost, {})
    assert (found.dropped, found.kept, found.carried) == ([0, 1], 0, [None, None])
    assert math.isnan(found.meta_loss)
    assert math.isnan(found.accuracy)
    assert found.direction.keys() == dict(rule.named_parameters()).keys()
    assert all(not value.any() for value in found.direction.values())


@descending
def test_memory_is_passed_on(example: EstimatorExample) -> None:
    rule = small(example)
    memory = {"seen": torch.tensor([1.0, 2.0])}
    found = estimate(made(example), rule, [unroll_of(rule, 0)], memory)
    assert found.memory.keys() == {"seen"}
    assert torch.equal(found.memory["seen"], torch.tensor([1.0, 2.0]))


@descending
def test_what_is_not_learned_has_no_direction(example: EstimatorExample) -> None:
    rule = Oja()
    rule.rate.requires_grad_(False)
    found = estimate(made(example), rule, [unroll_of(rule, 0, (4, 3))], {})
    assert found.direction.keys() == {"mix"}
    assert found.direction["mix"].all()


@every
def test_a_trajectory_starts_with_its_state(example: EstimatorExample) -> None:
    rule = small(example)
    one = unroll_of(rule, 0)
    carried = made(example).start(rule, theta_of(rule), one.carried, torch.Generator().manual_seed(0))
    assert all(torch.equal(carried[name], value) for name, value in one.carried.items())


# Truncated backpropagation.

BACKPROP = next(one for one in EXAMPLES if one.name == "truncated_backprop")


@pytest.mark.parametrize("recompute", [True, False])
def test_backpropagation_gives_the_mean_of_the_plain_gradients(recompute: bool) -> None:
    rule = small(BACKPROP)
    unrolls = [unroll_of(rule, 0), unroll_of(rule, 1), unroll_of(rule, 2, sizes=(7, 4)), unroll_of(rule, 3)]
    found = estimate(made(BACKPROP, recompute=recompute), rule, unrolls, {})
    plain = [torch.autograd.grad(plain_loss(rule, theta_of(rule), one)[0], list(rule.parameters())) for one in unrolls]
    for place, (name, _) in enumerate(rule.named_parameters()):
        expected = torch.stack([gradients[place] for gradients in plain]).mean(0)
        torch.testing.assert_close(found.direction[name], expected, rtol=1e-3, atol=1e-6)


def test_a_task_whose_gradient_alone_is_not_finite_is_left_out() -> None:
    rule = Cliff()
    unrolls = [unroll_of(rule, seed, (4, 3)) for seed in range(3)]
    unrolls[2].views["unlabelled"].zero_()
    found = estimate(made(BACKPROP), rule, unrolls, {})
    without = estimate(made(BACKPROP), rule, unrolls[:2], {})
    assert found.dropped == [2]
    for name in without.direction:
        torch.testing.assert_close(found.direction[name], without.direction[name], rtol=1e-3, atol=1e-6)


# Evolution strategies.

ES = next(one for one in EXAMPLES if one.name == "evolution_strategies")


def test_evolution_strategies_give_the_mean_of_antithetic_differences() -> None:
    """By the formula, with the noise that the trajectory's own generator gives."""
    rule = Oja()
    unrolls = [unroll_of(rule, 0, (4, 3)), unroll_of(rule, 1, (5, 2))]
    drawn = again(unrolls)
    found = estimate(made(ES), rule, unrolls, {})
    expected = {name: torch.zeros_like(value) for name, value in rule.named_parameters()}
    for one in drawn:
        noise = {n: torch.randn(2, *v.shape, generator=one.generator) for n, v in rule.named_parameters()}
        for pair in range(2):
            up, down = (
                plain_loss(rule, {n: v.detach() + s * 0.3 * noise[n][pair] for n, v in rule.named_parameters()}, one)[0]
                for s in (1, -1)
            )
            for name, direction in expected.items():
                direction += (up - down) / (2 * 0.3) * noise[name][pair] / (2 * len(drawn))
    for name, direction in expected.items():
        torch.testing.assert_close(found.direction[name], direction, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("pairs", [1, 3])
def test_a_lost_member_of_a_pair_drops_its_task(pairs: int) -> None:
    """Edged is lost for one of each pair, whichever: what is left of the pair must not count, nor the task."""
    rule, estimator = Edged(), made(EstimatorExample("evolution_strategies", {"deviation": 0.1, "pairs": pairs}))
    unrolls = [unroll_of(rule, seed, (4, 3)) for seed in range(3)]
    rest = again([unrolls[0], unrolls[2]])
    unrolls[1].views["unlabelled"][0, 0, 0] = LOST
    assert bool(plain_loss(rule, theta_of(rule), unrolls[1])[0].isfinite()), "θ itself is not lost"
    found = estimate(estimator, rule, unrolls, {})
    without = estimate(estimator, rule, rest, {})
    assert (found.dropped, found.carried[1]) == ([1], None)
    assert found.meta_loss == pytest.approx(without.meta_loss, rel=1e-6)
    for name in without.direction:
        torch.testing.assert_close(found.direction[name], without.direction[name], rtol=1e-5, atol=1e-7)


BY_ES = "outer.estimator={name: evolution_strategies, options: {deviation: 0.05, pairs: 2}}"


@pytest.mark.thorough
def test_a_run_by_evolution_strategies_killed_and_resumed_equals_one_that_never_stopped(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    """SIGKILL after 3 outer steps (or a little later), between two checkpoints, then --resume."""
    settings = (BY_ES, "outer_steps=8")
    kill_after(tmp_path / "killed", 3, command("meta_train", tiny_config("killed", *settings)), 8)
    assert meta_train.main([*tiny_config("killed", *settings), "--resume"]) == 0
    assert meta_train.main(tiny_config("whole", *settings)) == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    first, other = lines(tmp_path / "whole")[0], trainer_of(tiny_config("backprop", "outer_steps=8")).step()
    assert first["meta_loss"] == pytest.approx(other["meta_loss"]), "the loss is that of θ itself"
    assert first["gradient_norm"] != pytest.approx(other["gradient_norm"], rel=0.01)


@pytest.mark.thorough
def test_two_ranks_by_evolution_strategies_give_the_theta_of_one_process(
    tiny_config: Arguments, tmp_path: Path
) -> None:
    settings = (BY_ES, "outer.tasks_per_step=5", "outer_steps=5")
    ranks = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    finish(command("meta_train", tiny_config("two", *settings), before=ranks))
    assert meta_train.main(tiny_config("one", *settings)) == 0
    two, one = (theta(tmp_path / name) for name in ("two", "one"))
    start = make_rule("neuron_local", **load_rule(tmp_path / "one" / "rule.safetensors").config).state_dict()
    moved = math.sqrt(sum(float((one[name] - start[name]).square().sum()) for name in one))
    apart = math.sqrt(sum(float((one[name] - two[name]).square().sum()) for name in one))
    assert apart < 1e-2 * moved


STEPS = ("network.options={hidden: [[6]], outputs: 4, activations: [step]}",)


@pytest.mark.parametrize("settings", [STEPS, MAML, PROTONET], ids=["step", "maml", "protonet"])
def test_evolution_strategies_move_what_has_no_gradient_and_what_has(
    settings: tuple[str, ...], tiny_config: Arguments, tmp_path: Path
) -> None:
    arguments = tiny_config("run", *settings, BY_ES)
    assert meta_train.main(arguments) == 0
    found = lines(tmp_path / "run")
    assert len(found) == 6
    assert all(line["dropped_tasks"] == 0 and line["gradient_norm"] > 0 for line in found)
    rule = load_rule(tmp_path / "run" / "rule.safetensors")
    start, now = make_rule(rule.name, **rule.config).state_dict(), theta(tmp_path / "run")
    moved = {name for name, _ in rule.named_parameters() if not torch.equal(now[name], start[name])}
    if settings is STEPS:
        assert moved == set(dict(rule.named_parameters()))
        with pytest.raises(ValueError, match="activations other than step, which lets no meta-gradient through"):
            load_config(arguments[1], [*arguments[2:], "outer.estimator=truncated_backprop"])
    else:
        assert {"start.w1", "start.w4"} <= moved
