"""Multigrid for composed spline networks: sparse rows, coarser spaces, sweeps over variables, iterations saved."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.sparse import csr_array

import hierax as hx
from hierax.fields import DecodedGrid, partition
from hierax.hierarchy.variables import spline_leaves
from hierax.objective import flat_parameters, rows
from hierax.objective.build import SampledProblem, Sampling, balance
from hierax.objective.curvature import DenseGram
from hierax.objective.rows import RowObjective
from hierax.objective.sparse_rows import SparseRowGram
from hierax.solvers import Cholesky, GaussNewton, Multigrid
from hierax.solvers.linear.multigrid import linear_solver_for
from hierax.solvers.linear.smoothers import smoothing
from hierax.solvers.linear.solve import AbstractStop, NotPositive, factorise, iterated
from studies.composed import COARSEST, iterations

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])


def poisson():
    def exact(x):
        return jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])

    inside = hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + 5 * jnp.pi**2 * exact(x))
    wall = hx.Residual("wall", lambda u, x, normal: u(x) - exact(x), on="boundary")
    return SampledProblem(hx.Problem(SQUARE, (inside, wall)))


SAMPLED = poisson()


def objective(field, least=300):
    found = RowObjective(field, SAMPLED.sample(field, Sampling(least=least), 0))
    scales = balance(found.diagonals(flat_parameters(field)[0]), np.array([True, False]), np.full(2, 100.0))
    return found.rescaled(list(scales))


def network(intervals=8, **settings):
    return hx.KAN([2, 4, 1], intervals=intervals, degree=4, key=0, domain=SQUARE.bounds(), **settings)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def damping(gram, share):
    diagonal = gram.diagonal()
    return share * np.maximum(diagonal, 1e-10 * diagonal.max())


@pytest.fixture
def sparse(monkeypatch):
    monkeypatch.setattr(rows, "DENSE_LIMIT", 10)


@pytest.mark.parametrize("linear_first", [False, True])
def test_sparse_rows_are_the_dense_matrix_and_give_the_same_step(sparse, linear_first):
    field = network(linear_first=linear_first, first_bias=linear_first)
    theta = flat_parameters(field)[0]
    found = objective(field)
    lin = found.linearise(theta)
    gram = lin.curvature
    assert isinstance(gram, SparseRowGram)
    rows.DENSE_LIMIT = 4000
    exact = found.linearise(theta)
    assert isinstance(exact.curvature, DenseGram)
    assert relative(lin.gradient, exact.gradient) < 1e-12
    assert relative(gram.dense().matrix, exact.curvature.matrix) < 1e-12
    assert relative(gram.diagonal(), exact.curvature.diagonal()) < 1e-12
    vector = np.random.default_rng(0).standard_normal(gram.size)
    assert relative(gram.mv(vector), exact.curvature.mv(vector)) < 1e-12
    assert abs(gram.quadratic(vector) / exact.curvature.quadratic(vector) - 1) < 1e-12
    parts = np.arange(gram.size // 6 * 6).reshape(-1, 6)
    assert relative(gram.blocks(parts), exact.curvature.blocks(parts)) < 1e-12
    shift = np.full(gram.size, 1e-2 * gram.diagonal().max())
    assert relative(gram.shifted(shift).mv(vector), gram.mv(vector) + shift * vector) < 1e-12
    step = Cholesky().prepare(exact.curvature, shift)(-exact.gradient)
    solve = Multigrid(tolerance=1e-26, coarsest=50, sweeps=1).prepare(gram, shift)
    assert relative(solve(-lin.gradient), step) < 1e-10
    assert solve.iterations > 1
    assert isinstance(linear_solver_for(gram), Multigrid)


def test_coarser_spaces_are_those_of_the_transfer_and_products_are_galerkin():
    coarse = hx.Unknowns(nu=hx.Scalar(0.2), u=network(8, linear_first=True))
    hierarchy = hx.refine(coarse, levels=2)
    fine = hierarchy[1].field
    leaves, matrix = spline_leaves(fine).below
    params = partition(coarse)[0]
    np.testing.assert_allclose(
        matrix @ ravel_pytree(params)[0], ravel_pytree(hierarchy.transfers[0].prolong(params))[0], atol=1e-13
    )
    assert leaves.shapes == spline_leaves(coarse).shapes
    assert sorted(np.concatenate(leaves.groups)) == list(range(matrix.shape[1]))
    gram = SparseRowGram(csr_array(np.random.default_rng(0).standard_normal((9, matrix.shape[0]))), spline_leaves(fine))
    below = gram.galerkin()
    assert relative(below.curvature.dense().matrix, matrix.T @ gram.dense().matrix @ matrix) < 1e-13
    v = np.random.default_rng(1).standard_normal(matrix.shape[0])
    np.testing.assert_allclose(below.restrict(v), matrix.T @ v)
    assert spline_leaves(hx.MLP([2, 3, 1], key=0)).below is None


def test_sweeps_down_and_up_are_adjoint_and_reduce_the_error(sparse):
    field = network()
    gram = objective(field).linearise(flat_parameters(field)[0]).curvature
    gram = gram.shifted(damping(gram, 1e-3))
    down, up = smoothing(gram, 2)
    a, b = np.random.default_rng(0).standard_normal((2, gram.size))
    correction = down(b)
    assert abs(a @ correction - b @ up(a)) < 1e-10 * abs(a @ correction)
    error = factorise(gram, np.zeros(gram.size))(b)
    assert gram.quadratic(error - correction) < 0.5 * gram.quadratic(error)
    flat = SparseRowGram(gram.rows * np.nan, gram.leaves)
    with pytest.raises(NotPositive, match="not positive definite"):
        smoothing(flat, 1)


class Reached(AbstractStop):
    """Stop at a share of the decrease that is known to be possible."""

    def __init__(self, possible):
        self.possible = possible

    def __call__(self, count, gain, model, error):
        return self.possible - model < 1e-6 * self.possible


def test_knots_below_save_ten_of_eleven_iterations(sparse):
    """Damped steps on a trained network: conjugate gradients with the diagonal against the hierarchy."""
    rows.DENSE_LIMIT = 4000
    hierarchy = hx.refine(network(8), levels=2)
    found, theta = objective(hierarchy[0].field), flat_parameters(hierarchy[0].field)[0]
    solver = GaussNewton()
    state = solver.init(found, theta)
    for _ in range(8):
        step = solver.step(found, theta, state)
        theta, state = step.theta, step.state
    build = flat_parameters(hierarchy[0].field)[1]
    fine = flat_parameters(hierarchy[1].field)[1](
        ravel_pytree(hierarchy.transfers[0].prolong(partition(build(theta))[0]))[0]
    )
    rows.DENSE_LIMIT = 10
    lin = objective(fine).linearise(flat_parameters(fine)[0])
    gram, b = lin.curvature.shifted(damping(lin.curvature, 1e-4)), -lin.gradient
    best = factorise(gram, np.zeros(gram.size))(b)
    stop = Reached(0.5 * b @ best)
    inverse = 1.0 / gram.diagonal()
    plain = iterated(gram.mv, b, lambda r: inverse * r, stop, 4000).iterations
    few = iterated(gram.mv, b, Multigrid(coarsest=150, sweeps=1).cycle(gram), stop, 4000).iterations
    assert plain > 11 * few


def test_strips_of_all_channels_and_the_decoder_solve_a_decoded_grid():
    """The spaces below are those of the transfer, and few iterations are left where the diagonal takes many."""
    box = SQUARE.bounds()
    hierarchy = hx.refine(DecodedGrid.uniform(*box, 4, 3, key=0, channels=2, hidden=(6,)), levels=2)
    coarse, fine = (level.field for level in hierarchy.levels)
    leaves, matrix = spline_leaves(fine).below
    params = partition(coarse)[0]
    np.testing.assert_allclose(
        matrix @ ravel_pytree(params)[0], ravel_pytree(hierarchy.transfers[0].prolong(params))[0], atol=1e-13
    )
    assert leaves.shapes == spline_leaves(coarse).shapes
    assert set(np.concatenate(spline_leaves(fine).groups)) == set(range(matrix.shape[0]))
    found = iterations(objective(fine), flat_parameters(fine)[0], 1e-5)
    assert found["parameters"] == matrix.shape[0] > COARSEST
    assert found["ratio"] > 50


def test_gauss_newton_trains_a_network_whose_matrix_is_not_stored(sparse):
    field = network()
    found, theta = objective(field), flat_parameters(field)[0]
    state, solver = GaussNewton().init(found, theta), GaussNewton()
    first = found.value(theta)
    for _ in range(6):
        step = solver.step(found, theta, state)
        theta, state = step.theta, step.state
        assert step.failure is None
    assert step.value < 1e-3 * first
