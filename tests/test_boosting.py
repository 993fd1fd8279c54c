"""Boosted trees: what they leave of steps, their field, and when a table is fitted by them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at

import hierax as hx
from hierax.fields import Splits, Trees
from hierax.solvers.boosting import DEPTH, boosted, validated
from hierax.training import rivals


def steps(x):
    return (x[:, 0] > 0.5) + (x[:, 1] > 0.3) * x[:, 2] + 0.5 * x[:, 3]


def never():
    return False


def drawn(count, seed):
    return np.random.default_rng(seed).uniform(size=(count, 4))


def test_steps_are_found_and_rows_kept_back_say_how_well():
    points, fresh = drawn(1000, 0), drawn(2000, 1)
    values, folds = steps(points), [np.arange(k, 1000, 5) for k in range(5)]
    count, square = validated(points, values, folds, never)
    found = boosted(points, values, count, never)
    error = np.sqrt(np.mean((found.at(fresh) - steps(fresh)) ** 2))
    assert error < 0.13 * np.std(values)
    assert 0.6 < error / np.sqrt(square) < 1.7
    assert found.values.shape == (count, 2**DEPTH)
    # of noise alone nothing is left but the mean
    noise = np.random.default_rng(2).normal(size=1000)
    assert validated(points, noise, folds, never)[0] < 10
    # units of inputs and values change nothing
    other = boosted(1e-6 * points + 3.0, 5.0 * values - 2.0, 20, never)
    np.testing.assert_allclose(
        other.at(1e-6 * fresh + 3.0), 5.0 * boosted(points, values, 20, never).at(fresh) - 2.0, rtol=1e-9
    )
    # an input of one value cannot be split, and a time that is over ends them
    assert len(boosted(np.ones((50, 1)), np.arange(50.0), 3, never).values) == 0
    assert len(boosted(points, values, 100, lambda: True).values) == 1


def test_the_field_has_the_values_of_its_trees():
    points = drawn(300, 3)
    found = boosted(points, steps(points), 7, never)
    splits = Splits(jnp.asarray(found.inputs), jnp.asarray(found.thresholds))
    field = Trees(jnp.asarray(found.mean), jnp.asarray(found.values), splits)
    np.testing.assert_allclose(values_at(field, points), found.at(points), rtol=1e-12)
    assert field.linear_in_parameters
    assert not np.any(jax.grad(field)(points[0]))


@pytest.mark.slow
def test_a_table_of_steps_is_fitted_by_trees_and_a_smooth_one_is_not(monkeypatch):
    for other in ("_worth_more", "_tensor"):
        monkeypatch.setattr(rivals, other, lambda *given: None)
    monkeypatch.setattr(rivals, "MANY", 300)
    points, fresh = drawn(320, 4), drawn(1000, 5)
    noise = 0.05 * np.random.default_rng(6).normal(size=320)
    for law in (steps, lambda x: np.sin(3.0 * x[:, 0]) + x[:, 1] * x[:, 2]):
        box = hx.Box([0.0] * 4, [1.0] * 4)
        solution = hx.train(hx.Problem(box, (hx.Data("u", points, law(points) + noise * (law is not steps)),)))
        assert ("boosted trees" in solution.field_kind) == (law is steps)
        kinds = {candidate.field.split()[0] for candidate in solution.candidates}
        assert {"boosted", "kriging"} <= kinds
        assert np.std(solution.evaluate(fresh).ravel() - law(fresh)) < 0.16 * np.std(law(fresh))
