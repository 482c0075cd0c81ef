"""When columns are standardised, and by what."""

import numpy as np
import pytest

from common.scaling import scaling

RNG = np.random.default_rng(0)
PIXELS = RNG.uniform(size=(50, 6))
ROWS = RNG.normal(size=(50, 6)) * [1, 2, 3, 4, 5, 6] + 7


def left_alone(x: np.ndarray) -> bool:
    offset, scale = scaling(x)
    return bool((offset == 0).all() and (scale == 1).all())


def test_pixels_and_standardised_tables_stay_as_they_are() -> None:
    one_hot = np.eye(5)[RNG.integers(0, 5, 50)]
    standard = (ROWS - ROWS.mean(0)) / ROWS.std(0)
    for x in (PIXELS, PIXELS + 1e-7, one_hot, standard, np.column_stack([standard, one_hot]), np.ones((4, 3))):
        assert left_alone(x)


@pytest.mark.parametrize("factor", [1e-5, 1e-2, 1.0, 1e5, 1e150, 1e300])
def test_other_tables_are_brought_to_mean_0_and_variance_1(factor: float) -> None:
    offset, scale = scaling(factor * ROWS)
    found = (factor * ROWS - offset) / scale
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(found.std(0), 1, rtol=1e-9)


def test_a_constant_column_is_moved_and_not_divided() -> None:
    x = np.column_stack([ROWS, np.full(50, 3.0)])
    offset, scale = scaling(x)
    assert (offset[-1], scale[-1]) == (3.0, 1.0)


def test_one_may_decide() -> None:
    assert scaling(ROWS, False)[0].tolist() == [0] * 6
    offset, scale = scaling(PIXELS, True)
    np.testing.assert_allclose(((PIXELS - offset) / scale).std(0), 1)
