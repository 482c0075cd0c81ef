"""Black-box search over θ: what it asks of members, what it keeps, and that it finds what there is to find."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from cmaes import CMA
from estimator_toys import Oja, plain_loss, unroll_of
from runs import trainer_of
from torch import Tensor

from inner_loop.unroll import theta_of
from outer_loop.estimators.cma_es import CmaEs
from outer_loop.estimators.contract import Memory, TruncatedUnroll
from outer_loop.readouts.objective import Objective
from update_rules.contract import Rule

POPULATION = 5


def search() -> CmaEs:
    estimator = CmaEs(deviation=0.2, population=POPULATION, seed=3)
    estimator.configured(Objective())
    return estimator


def unrolls(rule: Rule) -> list[TruncatedUnroll]:
    return [unroll_of(rule, 0, (4, 3)), unroll_of(rule, 1, (5, 3)), unroll_of(rule, 2, (4, 3))]


def flat(values: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.detach().flatten() for value in values.values()])


def generations(estimator: CmaEs, rule: Rule, count: int, memory: Memory) -> Memory:
    """As the trainer does it."""
    for _ in range(count):
        memory = estimator.estimate(rule, theta_of(rule), unrolls(rule), memory).memory
        with torch.no_grad():
            for name, value in estimator.chosen(rule, memory).items():
                rule.get_parameter(name).copy_(value)
    return memory


def test_a_generation_is_the_mean_loss_of_every_member_and_moves_theta_as_cma_es_says() -> None:
    rule, estimator = Oja(), search()
    start = flat(theta_of(rule)).double()
    memory: Memory = {}
    by_hand = CMA(start.numpy(), 0.2, seed=3, population_size=POPULATION)
    for _ in range(2):
        members = [by_hand.ask() for _ in range(POPULATION)]
        losses = []
        for member in members:
            rate, mix = torch.from_numpy(member).float().split([1, 2])
            own = {"rate": rate[0], "mix": mix}
            losses.append(sum(float(plain_loss(rule, own, one)[0]) for one in unrolls(rule)) / 3)
        memory = generations(estimator, rule, 1, memory)
        np.testing.assert_allclose(memory["fitness"][-1].numpy(), losses, rtol=1e-4)
        by_hand.tell(list(zip(members, memory["fitness"][-1].tolist(), strict=True)))
        torch.testing.assert_close(flat(theta_of(rule)), torch.from_numpy(by_hand.mean).float())
    assert not torch.equal(flat(theta_of(rule)).double(), start)


def test_it_goes_on_from_a_memory_as_if_it_had_never_stopped() -> None:
    rule, other = Oja(), Oja()
    memory = generations(search(), rule, 5, {})
    half = generations(search(), other, 2, {})
    assert torch.equal(generations(search(), other, 3, half)["fitness"], memory["fitness"])
    assert torch.equal(flat(theta_of(rule)), flat(theta_of(other)))
    one, third = search(), Oja()
    generations(one, third, 4, {})
    generations(one, third, 1, half)  # one that has gone further, or elsewhere, is told anew
    assert torch.equal(one.chosen(third, memory)["mix"], rule.get_parameter("mix"))


def test_it_finds_lower_losses() -> None:
    rule = Oja()
    with torch.no_grad():
        rule.rate.fill_(-0.3)
    memory = generations(search(), rule, 25, {})
    first, last = memory["fitness"][:3].mean(), memory["fitness"][-3:].mean()
    assert float(last) < 0.9 * float(first)


class Edge(Oja):
    """Not finite above the rate that it starts with."""

    def step(self, problem, state, views, phase):  # type: ignore[no-untyped-def]
        after = super().step(problem, state, views, phase)
        return {**after, "b1": torch.where(self.rate > 0.41, torch.nan, after["b1"])}


def test_a_member_that_is_not_finite_is_the_worst_and_drops_no_task() -> None:
    rule, estimator = Edge(), search()
    found = estimator.estimate(rule, theta_of(rule), [replace(one) for one in unrolls(rule)], {})
    assert found.dropped == []
    fitness = found.memory["fitness"][0]
    assert bool(fitness.isinf().any())
    assert bool(fitness.isfinite().any())
    assert bool(flat(estimator.chosen(rule, found.memory)).isfinite().all())


@pytest.mark.parametrize("population", [1, 2])
def test_a_population_too_small_is_refused(population: int) -> None:
    with pytest.raises(ValueError, match="expected 0 or 3 and more"):
        CmaEs(population=population)


def test_a_run_searches_over_whole_trajectories(tiny_config: Callable[..., list[str]]) -> None:
    estimator = "outer.estimator={name: cma_es, options: {population: 4}}"
    with pytest.raises(ValueError, match="estimator cma_es learns from whole trajectories"):
        trainer_of(tiny_config("run", estimator, "inner.unroll=[2,4]", "inner.length=[4,4]"))
    trainer = trainer_of(tiny_config("run", estimator, "inner.unroll=[4,4]", "inner.length=[4,4]"))
    before = flat(theta_of(trainer.state.rule))
    for _ in range(2):
        trainer.step()
    assert trainer.state.memory["fitness"].shape == (2, 4)
    assert not torch.equal(flat(theta_of(trainer.state.rule)), before)


def test_means_over_ranks_that_round_do_not_disturb_it() -> None:
    rule, other = Oja(), Oja()
    whole = generations(search(), rule, 4, {})
    one, memory = search(), {}
    for _ in range(4):
        memory = generations(one, other, 1, memory)
        memory = {name: (2 * value + 3 * value) / 5 for name, value in memory.items()}
    torch.testing.assert_close(memory["fitness"], whole["fitness"])
    assert torch.equal(flat(theta_of(rule)), flat(theta_of(other)))
