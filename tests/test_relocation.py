"""Knots that move: equal parts of the error, transfers by least squares, and moves that are taken back."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.events import Decision
from hierax.fields import KAN, Scalar, SplineGrid, Unknowns
from hierax.fields.axis import collocation
from hierax.fields.spline_grid import with_coefficients
from hierax.hierarchy import FUNCTION_PRESERVING, LINEAR, Level, MovingKnots, equidistributed
from hierax.planning.families import Grid


def fitted(axis, function):
    """Least-squares coefficients of a function on `[0, 1]`, and their largest error."""
    x = np.linspace(0.0, 1.0, 4001)
    matrix = collocation(axis, x)
    coefficients = np.linalg.lstsq(matrix, function(x))[0]
    return coefficients, float(np.max(np.abs(matrix @ coefficients - function(x))))


def layer(x):
    return np.tanh((x - 0.3) / 0.02)


def test_moved_knots_lower_the_error_of_a_layer():
    grid = SplineGrid.uniform([0.0], [1.0], 24, 3)
    coefficients, first = fitted(grid.axes[0], layer)
    level, transfer = MovingKnots().move(Level(with_coefficients(grid, coefficients)))
    errors = [first]
    for _ in range(3):
        coefficients, error = fitted(level.field.axes[0], layer)
        errors.append(error)
        level, transfer = MovingKnots().move(Level(with_coefficients(level.field, coefficients)))
    assert errors[-1] < 0.1 * errors[0]
    assert level.field.intervals == (24,)
    assert transfer.tags == frozenset({LINEAR})
    assert FUNCTION_PRESERVING not in transfer.tags


def test_what_is_smooth_is_carried_over():
    grid = SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 6, 5)
    matrices = [collocation(axis, axis.positions()) for axis in grid.axes]
    wave = np.sin(np.add.outer(*(axis.positions() for axis in grid.axes)))
    values = np.linalg.solve(matrices[0], np.linalg.solve(matrices[1], wave.T).T)
    both = Unknowns(u=with_coefficients(grid, values), nu=Scalar(0.1))
    moved = MovingKnots().move(Level(both))[0].field
    assert not np.allclose(moved.u.breakpoints()[0], grid.breakpoints()[0])
    points = np.random.default_rng(0).uniform(size=(5, 2))
    for point in points:
        assert float(moved.u(jnp.asarray(point))) == pytest.approx(np.sin(point.sum()), abs=1e-5)
    assert float(moved.nu) == pytest.approx(0.1)


def test_equal_errors_stay_and_ends_are_kept():
    breaks = np.linspace(-1.0, 2.0, 9)
    np.testing.assert_allclose(equidistributed(breaks, np.full(8, 1e-3), 3), breaks, atol=1e-12)
    np.testing.assert_array_equal(equidistributed(breaks, np.zeros(8), 3), breaks)
    errors = np.full(8, 1e-9)
    errors[2] = 1.0
    moved = equidistributed(breaks, errors, 3)
    assert (moved[0], moved[-1]) == (-1.0, 2.0)
    assert np.diff(moved).min() < 0.6 * np.diff(breaks).min()
    assert np.all(np.diff(moved) > 0)


def test_fields_without_knots_of_their_own_are_refused():
    with pytest.raises(ValueError, match="KAN is not made of spline grids"):
        MovingKnots().move(Level(KAN([2, 3, 1], intervals=4, degree=3, key=0)))


def test_training_moves_knots_to_a_layer_and_takes_back_what_does_not_help():
    def exact(x):
        return jnp.tanh((x[0] - 0.3) / 0.02)

    terms = (
        hx.Residual("slope", lambda u, x: hx.derivative(u, "t")(x) - hx.derivative(exact, 0)(x)),
        hx.Residual("start", lambda u, x, normal: u(x) - exact(x), on=hx.Face("t", "lower")),
    )
    problem = hx.Problem(hx.Box([0.0], [1.0], names=("t",)), terms, reference=exact)
    said = []
    solution = hx.train(
        problem,
        Grid(refinement=MovingKnots(hx.IntervalDoubling(), moves=8)),
        levels=3,
        budget=600.0,
        subscribers=[lambda event: said.append(event.sentence) if isinstance(event, Decision) else None],
    )
    moves = [text for text in said if text.startswith("Knots moved")]
    assert len(moves) >= 3
    before, after = (float(moves[-1].split()[k].rstrip(".")) for k in (4, 6))
    assert after < 0.9 * before
    assert any(text.startswith("Knots stay") for text in said)
    # the coarsest level has knots of its own where the source has its peak
    assert solution.levels[-1].parameters < 100
    assert solution.accuracy.relative_l2 is not None
    assert solution.accuracy.relative_l2 < 1e-4
