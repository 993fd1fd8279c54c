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


def test_corners_without_data_do_not_spoil_the_fit():
    """A rotated square in its box, with a wave that the first levels do not resolve: smoothness has to hold them."""
    rng = np.random.default_rng(3)
    turned = rng.random((2000, 2)) @ np.array([[0.8, 0.6], [0.6, -0.8]]).T
    truth = np.sin(30 * turned[:, 0]) * np.exp(-(turned[:, 1] ** 2))
    box = hx.Box(turned.min(axis=0), turned.max(axis=0))
    solution = hx.train(hx.Problem(box, (hx.Data("u", turned, truth + 0.1 * rng.standard_normal(2000)),)))
    assert solution.result is hx.RESULTS.successful
    # without smoothness in the corners 0.4
    assert np.sqrt(np.mean((solution.evaluate(turned) - truth) ** 2)) < 0.03


def test_noise_that_grows_along_the_axis_is_not_followed():
    rng = np.random.default_rng(658)
    where = rng.random((800, 1))
    truth = np.sin(10 * where[:, 0] ** 2)
    values = truth + (0.02 + 0.5 * where[:, 0] ** 4) * rng.standard_normal(800)
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", where, values),)))
    assert solution.result is hx.RESULTS.successful
    assert np.sqrt(np.mean((solution.evaluate(where) - truth) ** 2)) < 0.06


def test_a_wave_that_the_field_cannot_follow_is_named():
    rng = np.random.default_rng(4)
    where = rng.random((2000, 1))
    values = np.sin(60 * where[:, 0]) + 0.05 * rng.standard_normal(2000)
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", where, values),))
    solution = hx.train(problem, hx.SplineGrid.uniform([0.0], [1.0], 3, 3))
    assert solution.result is hx.RESULTS.guard_validation
    assert solution.guards["data"].value > 5
    outliers = np.where(np.arange(2000) % 20 == 0, 3.0 * rng.standard_normal(2000), 0.0)
    noisy = np.sin(6 * where[:, 0]) + 0.3 * rng.standard_normal(2000) + outliers
    spoiled = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", where, noisy),))
    assert hx.train(spoiled, levels=2).guards["data"].passed


@pytest.mark.parametrize("seed", [1, 3])
def test_constants_that_the_data_alone_do_not_show_are_still_found(seed):
    """While the equation hardly weighs, the diffusivity would run to its bound at zero, and stay there."""
    solution = hx.train(hx.problems.inverse_constant(noise=0.01, seed=seed))
    assert solution.result is hx.RESULTS.successful
    assert float(solution.field.nu) == pytest.approx(np.log(0.05), abs=0.05)  # its logarithm is what is trained
