"""Data as users bring them: what is special about some of them must not end in a failure."""

import numpy as np
import pytest

import hierax as hx

POINTS = np.random.default_rng(0).random((300, 2))
NOISE = 0.05 * np.random.default_rng(1).standard_normal(300)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        # linear in y: cross-validation wants as much smoothness along y as it can get
        (np.sin(6 * POINTS[:, 0]) * POINTS[:, 1], 0.03),
        (np.ones(300), 0.03),
    ],
    ids=["linear in y", "constant"],
)
def test_smooth_directions_are_no_numerical_failure(values, error):
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Data("u", POINTS, values + NOISE),))
    solution = hx.train(problem, levels=2)
    assert solution.result is hx.RESULTS.successful
    assert 0 < solution.loss < 1
    assert np.sqrt(np.mean((solution.evaluate(POINTS) - values) ** 2)) < error


def test_equal_values_are_no_failure():
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Data("u", POINTS, np.ones(300)),))
    solution = hx.train(problem)
    assert solution.result is hx.RESULTS.successful
    np.testing.assert_allclose(solution.evaluate(POINTS), 1.0, atol=1e-6)
