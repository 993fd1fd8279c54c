"""Tables: what is known of them between and beside their rows, and which kind of field fits them."""

import numpy as np
import pytest

import hierax as hx
from hierax.objective.data_rows import DataRows, folds
from hierax.solvers.gaussian_process import _Likelihood, fit_process, warped


def table(points, values):
    lower, upper = points.min(axis=0), points.max(axis=0)
    return hx.Problem(hx.Box(lower, upper, names=tuple("abcdef"[: points.shape[1]])), (hx.Data("u", points, values),))


def test_copies_of_a_point_are_kept_back_together():
    points = np.repeat(np.linspace(0.0, 1.0, 12), 5)[np.random.default_rng(0).permutation(60), None]
    rows = DataRows(table(points, points[:, 0]), 0.25, 0)
    held = rows.held["u"].points[:, 0]
    assert 10 <= len(held) <= 20
    assert not set(held) & set(points[rows.train["u"], 0])
    for fold in (parts := folds(points, 4, np.random.default_rng(1))):
        assert not set(points[fold, 0]) & set(np.delete(points, fold, axis=0)[:, 0])
    assert sorted(np.concatenate(parts)) == list(range(60))
    seen = [f.held["u"].points for f in rows.folds(4, 3)]
    assert sum(map(len, seen)) == 60


def gap():
    x = np.r_[np.linspace(0.0, 0.25, 30), np.linspace(0.8, 1.0, 30)][:, None]
    return x, np.sin(14.0 * x[:, 0])


def few():
    x = np.random.default_rng(56).uniform(size=(14, 2))
    return x, np.sin(5.0 * x[:, 0]) * np.cos(4.0 * x[:, 1])


@pytest.mark.parametrize(("made", "guard", "says"), [(gap, "between", "a = 0.5"), (few, "explained", "is explained")])
def test_what_the_rows_do_not_show_is_no_success(made, guard, says):
    solution = hx.train(table(*made()), hx.families.Grid(), levels=3)
    assert solution.result is hx.RESULTS.guard_validation
    assert not solution.guards[guard].passed
    assert says in solution.guards[guard].sentence


def test_noise_is_no_gap_and_explains_what_is_left():
    x = np.random.default_rng(0).uniform(size=(120, 1))
    values = np.sin(7.0 * x[:, 0]) + 0.2 * np.random.default_rng(1).normal(size=120)
    solution = hx.train(table(x, values), hx.families.Grid(), levels=3)
    assert solution.result is hx.RESULTS.successful, solution
    assert 0.2 < solution.accuracy.left_out < 0.4


def test_the_likelihood_has_its_gradient_and_what_is_left_out_is_a_fit_without_it():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, 2))
    values, spread = np.sin(5.0 * x[:, 0]) + x[:, 1] ** 2, rng.uniform(0.5, 1.5, 40)
    whole = _Likelihood(x, values, spread)
    theta = np.array([0.3, -0.2, 1.0, -2.0, 0.5, -4.0])
    slopes = [(whole(theta + 1e-6 * e)[0] - whole(theta - 1e-6 * e)[0]) / 2e-6 for e in np.eye(6)]
    np.testing.assert_allclose(whole(theta)[1], slopes, rtol=1e-5, atol=1e-6)
    rest = _Likelihood(x[5:], values[5:], spread[5:]).given(theta)
    left = whole.given(theta).left_out([np.arange(5)])
    np.testing.assert_allclose(left[:5], values[:5] - rest.predict(x[:5])[0], rtol=1e-8)
    ends, _ = warped(np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([2.0, -3.0]))
    np.testing.assert_allclose(ends, [[0.0, 0.0], [1.0, 1.0]], atol=1e-14)


def test_a_process_finds_the_inputs_that_matter_and_stretches_a_layer():
    rng = np.random.default_rng(2)
    x = rng.uniform(size=(90, 3))
    found = fit_process(x, 1.0 / (x[:, 0] + 0.05) / 5.0 + x[:, 1], np.ones(90), 0)
    assert found.kernel.warps[0] > 2.0
    assert found.kernel.inverse_lengths[2] < 0.05
    fresh = rng.uniform(size=(200, 3))
    mean, deviation = found.predict(fresh)
    errors = mean - (1.0 / (fresh[:, 0] + 0.05) / 5.0 + fresh[:, 1])
    assert np.sqrt(np.mean(errors**2)) < 5e-3
    assert np.sqrt(np.mean(deviation**2)) < 2e-2
