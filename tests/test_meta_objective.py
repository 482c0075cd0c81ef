"""Ridge regression and the original meta-objective, against plain numpy and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_numpy import meta_objective
from torch.func import vmap

from outer_loop.readouts.metz_objective import centred_targets, metz_objective
from outer_loop.readouts.ridge_regression import ridge_weights


def draw(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.floats(1e-3, 10), st.integers(0, 1000))
def test_ridge_equals_the_normal_equations(examples: int, units: int, ways: int, penalty: float, seed: int) -> None:
    a, y = draw(seed, examples, units) + 3, draw(seed + 1, examples, ways)
    extended = np.concatenate([a.numpy(), np.ones((examples, 1))], 1)
    penalties = np.diag([penalty] * units + [0.0])
    expected = np.linalg.solve(extended.T @ extended + penalties, extended.T @ y.numpy())
    np.testing.assert_allclose(
        ridge_weights(a, y, penalty).numpy(), expected, rtol=0, atol=1e-9 * np.abs(expected).max() + 1e-9
    )


@pytest.mark.parametrize("shape", [(6, 3), (3, 6), (4, 4)])
def test_ridge_gradient(shape: tuple[int, int]) -> None:
    a, y = draw(0, *shape).requires_grad_(), draw(1, shape[0], 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, y: ridge_weights(a, y, 0.1), (a, y))


@pytest.mark.parametrize("shape", [(30, 64), (100, 32)])
def test_ridge_is_accurate_in_float32(shape: tuple[int, int]) -> None:
    a, y = draw(0, *shape).relu() * 3, draw(1, shape[0], 10)
    exact, rounded = ridge_weights(a, y, 0.1), ridge_weights(a.float(), y.float(), 0.1)
    assert rounded.dtype == torch.float32
    assert float((rounded - exact).abs().max() / exact.abs().max()) < 1e-4


def test_ridge_marks_what_it_cannot_solve_and_spares_the_other_tasks() -> None:
    a, y = draw(0, 3, 6, 4), draw(1, 3, 6, 2)
    a[1, 2, 3] = torch.inf
    weights = vmap(lambda a, y: ridge_weights(a, y, 0.1))(a, y)
    assert weights[1].isnan().all()
    torch.testing.assert_close(weights[2], ridge_weights(a[2], y[2], 0.1))
    # Two equal columns so large that float32 loses the penalty: the matrix is singular.
    large = torch.tensor([[1e8, 1e8], [-1e8, -1e8]])
    assert ridge_weights(large, torch.ones(2, 1), 0.1).isnan().all()
    with pytest.raises(ValueError, match=r"got ridge penalty 0\.0, expected a positive number"):
        ridge_weights(a[0], y[0], 0.0)


def test_a_factor_that_failed_is_not_used_even_if_it_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda matrix: (torch.eye(len(matrix)), torch.tensor(2)))
    assert ridge_weights(torch.rand(5, 3), torch.rand(5, 2), 0.1).isnan().all()


def test_targets_have_mean_zero_and_unit_norm() -> None:
    targets = centred_targets(torch.tensor([0, 0, 2, 1, 2]), 3, torch.float64)
    assert float(targets.mean()) == pytest.approx(0)
    assert float((targets**2).sum(1).mean()) == pytest.approx(1)
    # Two balanced classes: one-hot minus a half is ±1/2, and two of them have norm 1/√2.
    two = centred_targets(torch.tensor([0, 1]), 2, torch.float64)
    torch.testing.assert_close(two, torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64) / 2**0.5)


@pytest.mark.parametrize("units", [2, 9])
def test_objective_equals_numpy(units: int) -> None:
    support, query = draw(0, 8, units), draw(1, 6, units)
    y_support, y_query = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1]), torch.tensor([2, 1, 0, 0, 2, 1])
    ours = metz_objective(support, y_support, query, y_query, 3)
    parts, weights = meta_objective(support.numpy(), y_support.numpy(), query.numpy(), y_query.numpy(), 3)
    np.testing.assert_allclose(ours.weights, weights, atol=1e-12)
    for field, name in (
        ("loss", "loss"),
        ("mse_query", "stat/mse_test"),
        ("mse_support", "stat/mse_train"),
        ("ridge_component", "stat/ridge_component"),
        ("accuracy_query", "stat/accuracy_test"),
        ("accuracy_support", "stat/accuracy_train"),
    ):
        assert float(getattr(ours, field)) == pytest.approx(parts[name], abs=1e-12), field


def test_separated_classes_are_read_out_almost_perfectly() -> None:
    y = torch.arange(3).repeat(4)
    features = 100 * torch.eye(3, dtype=torch.float64)[y]
    result = metz_objective(features, y, features.flip(0), y.flip(0), 3)
    assert float(result.accuracy_query) == 1
    assert float(result.loss) < 1e-3


def test_objective_gradient() -> None:
    y_support, y_query = torch.tensor([0, 1, 2, 0, 1]), torch.tensor([2, 1, 0, 0])
    for units in (2, 7):
        features = draw(0, 5, units).requires_grad_(), draw(1, 4, units).requires_grad_()
        assert torch.autograd.gradcheck(lambda a, b: metz_objective(a, y_support, b, y_query, 3).loss, features)


def test_vmap_over_tasks_equals_a_loop() -> None:
    support, query = draw(0, 3, 6, 4), draw(1, 3, 6, 4)
    y = torch.stack([torch.arange(3).repeat(2).roll(task) for task in range(3)])
    torch._C._functorch._set_vmap_fallback_warning_enabled(True)
    try:
        together = vmap(lambda a, ya, b, yb: metz_objective(a, ya, b, yb, 3))(support, y, query, y)
    finally:
        torch._C._functorch._set_vmap_fallback_warning_enabled(False)
    for task in range(3):
        alone = metz_objective(support[task], y[task], query[task], y[task], 3)
        for ours, theirs in zip(together, alone, strict=True):
            torch.testing.assert_close(ours[task], theirs, rtol=0, atol=1e-12)
