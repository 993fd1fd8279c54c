"""Contraction of visits, orders of splines of degrees 2 to 5."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

from hierax.dynamics import convergence as cv
from hierax.fields.bspline import uniform_knots


def test_contraction_of_every_visit():
    levels, steps = [0, 0, 0, 1, 1, 0, 0, 0], [1, 2, 3, 1, 2, 1, 1, 2]
    losses = [1.0, 0.25, 0.0625, 4.0, 0.04, 0.5, 0.3, 0.3]
    found = cv.contractions(levels, steps, losses)
    assert [(c.level, c.visit, c.steps) for c in found] == [(0, 0, 3), (1, 1, 2), (0, 2, 1), (0, 3, 2)]
    assert [c.factor for c in found[:2]] == pytest.approx([0.5, 0.1])
    assert np.isnan(found[2].factor)
    assert found[3].factor == 1.0
    # a known floor: the distance to it halves with every step
    assert cv.contractions([0] * 3, [1, 2, 3], [2.0, 1.25, 1.0625], floor=1.0)[0].factor == pytest.approx(0.5)
    assert cv.contractions([], [], []) == []


def best_error(intervals, degree):
    """Error of the best fit to a smooth function on the library's knots, by least squares at many points."""
    x = np.linspace(0.0, 1.0, 20 * intervals + 1)
    design = BSpline.design_matrix(x, uniform_knots(0.0, 1.0, intervals, degree), degree).toarray()
    exact = np.sin(7.0 * x) * np.exp(x)
    return np.sqrt(np.mean((design @ np.linalg.lstsq(design, exact, rcond=None)[0] - exact) ** 2))


@pytest.mark.parametrize("degree", [2, 3, 4, 5])
def test_orders_of_splines(degree):
    sizes = np.array([32, 45, 64])
    found = cv.order(1.0 / sizes, [best_error(n, degree) for n in sizes])
    assert found.slope == pytest.approx(degree + 1, abs=0.1)


def test_two_sizes_have_no_order():
    assert cv.order([1.0, 0.5], [1.0, 0.1]) is None
