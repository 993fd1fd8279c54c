"""Where knots are inserted: uniformly while nothing is resolved, where the error is afterwards, never outside."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.hierarchy import Level, MarkedKnots, Settling
from hierax.hierarchy.marking import interval_errors


def bumpy(intervals: int) -> hx.SplineGrid:
    """A grid that is rough near one corner, and ever smoother away from it."""
    grid = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], intervals, 3)
    x, y = np.meshgrid(*(axis.positions() for axis in grid.axes), indexing="ij")
    return hx.SplineGrid(grid.axes, jnp.asarray(np.exp(-20 * (x + y))))


def cells(level: Level) -> list[int]:
    return [axis.intervals for axis in level.field.axes]


@pytest.mark.parametrize(
    ("intervals", "evidence", "least", "most"),
    [
        (16, Settling(0.5), 4.0, 4.0),
        (16, Settling(np.inf, 1), 4.0, 4.0),
        (16, Settling(0.5, steps=30), 1.5, 2.6),
        (64, Settling(0.5), 1.5, 2.6),
        (16, Settling(0.01), 1.0, 2.0),
        (16, None, 1.0, 2.0),
    ],
)
def test_levels_grow_by_a_factor_as_long_as_nothing_is_resolved(intervals, evidence, least, most):
    fine, _ = MarkedKnots().refine(Level(bumpy(intervals)), evidence=evidence)
    growth = np.prod(cells(fine)) / intervals**2
    assert least <= growth <= most


def test_what_is_marked_first_is_marked_still():
    grid = Level(bumpy(64))
    plain, more = (MarkedKnots().refine(grid, evidence=e)[0].field for e in (None, Settling(0.5)))
    for few, many in zip(plain.breakpoints(), more.breakpoints(), strict=True):
        assert np.isin(few, many).all()


def test_coefficients_where_there_are_no_points_mark_nothing():
    grid = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 8, 3)
    axes, (x, y) = grid.axes, np.meshgrid(*(axis.positions() for axis in grid.axes), indexing="ij")
    smooth = jnp.asarray(np.where((x > 0.6) & (y > 0.6), 1e3 * np.cos(40 * x * y), np.sin(2 * x) * y))
    places = np.stack(np.meshgrid(*[(np.arange(64) + 0.5) / 64] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = places[(places < 0.5).any(axis=1)]
    field = hx.SplineGrid(axes, smooth)
    everywhere, inside = interval_errors(field), interval_errors(field, points)
    assert max(e.max() for e in everywhere) > 10.0
    # up to the functions that reach over the edge of the points
    assert max(e[:2].max() for e in inside) < 1e-3
    whole = interval_errors(field, places)
    np.testing.assert_array_equal(np.concatenate(whole), np.concatenate(everywhere))


def test_a_wave_on_an_l_shape_is_resolved_in_few_levels():
    problem = hx.problems.helmholtz_l_shape(frequency=4)
    solution = hx.train(problem, levels=4)
    assert [row.parameters for row in solution.levels] == [121, 289, 841, 2809]
    # a coarse level sees a part of the cloud only
    assert solution.levels[0].points < 0.15 * len(problem.domain.points)
    assert solution.accuracy.relative_l2 < 1e-3
    assert solution.result is hx.RESULTS.successful
