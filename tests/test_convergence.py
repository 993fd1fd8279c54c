"""Contraction of visits, two-grid factors predicted and measured, orders of splines of degrees 2 to 5."""

import numpy as np
import pytest
from scipy.interpolate import BSpline

import hierax as hx
from hierax.dynamics import convergence as cv
from hierax.fields.bspline import uniform_knots
from hierax.objective.curvature import DenseGram
from hierax.planning.choose import choose
from hierax.problems import named_problem
from hierax.solvers import GaussNewton, Multigrid
from hierax.solvers.linear.smoothers import smoothing
from hierax.training.discrete import Bench


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


def test_largest_eigenvalue_in_an_energy_inner_product():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(12, 12))
    matrix, values = root @ root.T + np.eye(12), np.linspace(-0.9, 0.7, 12)
    lower = np.linalg.cholesky(matrix)
    rotation = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    operator = np.linalg.inv(lower.T) @ rotation @ np.diag(values) @ rotation.T @ lower.T
    found = cv.largest_eigenvalue(lambda v: operator @ v, lambda v: matrix @ v, 12, steps=12)
    assert found == pytest.approx(0.9, abs=1e-9)


@pytest.fixture(scope="module")
def grids():
    """Curvatures of Poisson's equation on four grids."""
    problem = named_problem("poisson-2d")()
    bench = Bench(problem, choose(problem, key=0, solver=GaussNewton(linear=Multigrid())), 0)
    fields = [hx.SplineGrid.uniform(*problem.domain.bounds(), intervals, 3) for intervals in (8, 12, 16, 32)]
    made = [bench.prepare(field) for field in fields]
    return [prepared.objective.linearise(prepared.theta).curvature for prepared in made]


def test_two_grid_factors_are_predicted_at_four_sizes(grids):
    for curvature in grids:
        cycle = Multigrid(coarsest=curvature.size - 1, sweeps=1).cycle(curvature)
        down, _ = smoothing(curvature, 1)
        predicted = cv.two_grid(curvature, lambda residual, down=down: down(residual)[0])
        measured = cv.cycle_factor(curvature, cycle)
        assert predicted.factor == pytest.approx(measured, abs=0.02)
        assert 0.0 < predicted.factor < 0.9


def test_the_factor_of_a_v_cycle_is_bounded_by_its_parts(grids):
    coarse, fine = grids[0], grids[2]
    down, _ = smoothing(fine, 1)
    inner = Multigrid(coarsest=coarse.size - 1, sweeps=1).cycle(fine.galerkin().curvature)
    parts = cv.two_grid(fine, lambda residual: down(residual)[0], coarse=inner)
    v_cycle = Multigrid(coarsest=coarse.size - 1, sweeps=1).cycle(fine)
    assert 0.0 < parts.coarse < 1.0
    assert cv.cycle_factor(fine, v_cycle) <= parts.factor + 0.01


def test_a_matrix_without_coarser_space_is_refused():
    with pytest.raises(ValueError, match="no coarser space"):
        cv.two_grid(DenseGram(np.eye(3)), lambda r: r)


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
    assert found.slope == pytest.approx(cv.expected_order(degree), abs=0.1)


def test_two_sizes_have_no_order():
    assert cv.order([1.0, 0.5], [1.0, 0.1]) is None
