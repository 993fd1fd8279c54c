"""All kinds of curvature are the same operator and give the same step."""

import numpy as np
import pytest
import scipy.sparse as sp

import hierax as hx
from hierax.objective import LocalObjective, flat_parameters, rows
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.curvature import (
    BandCombination,
    BandGram,
    DenseGram,
    MatrixFreeGram,
    Ordering,
    SparseGram,
)
from hierax.objective.kernel import KernelGram
from hierax.objective.rows import RowObjective
from hierax.solvers import Cholesky, ConjugateGradients, Multigrid
from hierax.solvers.linear.multigrid import linear_solver_for
from hierax.solvers.linear.solve import NotPositive, factorise

DAMPING = 1e-2


def underdetermined():
    """A nonlinear equation and data on a spline grid with more coefficients than residuals."""
    rng = np.random.default_rng(4)
    terms = (
        hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) / 50 + u(x) ** 3 - x[0]),
        hx.Residual("wall", lambda u, x, normal: u(x), on=hx.Face("x", "lower")),
        hx.Data("u", rng.random((9, 2)), rng.random(9)),
    )
    field = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 6, 4)
    theta, build = flat_parameters(field)
    field = build(theta + rng.standard_normal(len(theta)))
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms)
    samples = SampledProblem(problem).sample(field, Sampling(inside=1, boundary=2), 0)
    return field, [s.scaled(1.0 + 0.5 * k) for k, s in enumerate(samples)]


def kinds(monkeypatch):
    """One linearisation in each kind of storage."""
    field, samples = underdetermined()
    theta = flat_parameters(field)[0]
    dense = RowObjective(field, samples)
    dense.by_rows = False
    out = {
        KernelGram: RowObjective(field, samples).linearise(theta),
        DenseGram: dense.linearise(theta),
        BandGram: LocalObjective(field, samples, [False, False]).linearise(theta),
    }
    monkeypatch.setattr(rows, "DENSE_LIMIT", 10)
    out[MatrixFreeGram] = RowObjective(field, samples).linearise(theta)
    return out


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_all_kinds_are_the_same_operator_and_give_the_same_step(monkeypatch):
    found = kinds(monkeypatch)
    exact = found[DenseGram]
    size = exact.curvature.size
    shift = DAMPING * (1.0 + exact.curvature.diagonal())
    step = Cholesky().prepare(exact.curvature, shift)(-exact.gradient)
    vectors = np.random.default_rng(0).standard_normal((3, size))
    parts = np.arange(size // 5 * 5).reshape(-1, 5)
    for kind, lin in found.items():
        assert type(lin.curvature) is kind
        assert abs(lin.value / exact.value - 1) < 1e-12
        assert relative(lin.gradient, exact.gradient) < 1e-12
        for v in vectors:
            assert relative(lin.curvature.mv(v), exact.curvature.mv(v)) < 1e-12
            assert abs(lin.curvature.quadratic(v) / exact.curvature.quadratic(v) - 1) < 1e-12
        assert relative(lin.curvature.blocks(parts), exact.curvature.blocks(parts)) < 1e-12
        linear = ConjugateGradients(1e-26, 5000) if kind is MatrixFreeGram else Cholesky()
        assert relative(linear.prepare(lin.curvature, shift)(-lin.gradient), step) < 1e-10
        again = Multigrid().prepare(lin.curvature, shift)(-lin.gradient)  # there are no coarser spaces
        assert relative(again, step) < (0.2 if kind is MatrixFreeGram else 1e-10)
        if kind is not MatrixFreeGram:  # whose diagonal is an estimate
            assert relative(lin.curvature.diagonal(), exact.curvature.diagonal()) < 1e-12


@pytest.mark.parametrize("damping", [1e-2, 1e-6, 1e-9])
def test_steps_through_the_kernel_lose_no_more_than_conditioning_takes(damping):
    rng = np.random.default_rng(1)
    gram = KernelGram(rng.standard_normal((30, 80)))
    shift = damping * gram.diagonal()
    solve = factorise(gram, shift)
    right = gram.mv(rng.standard_normal(80)) + shift * rng.standard_normal(80)
    step = solve(right)
    assert np.linalg.norm(gram.mv(step) + shift * step - right) < 1e-14 / damping * np.linalg.norm(right)
    several = solve(np.stack([right, -2 * right], axis=1))
    assert relative(several[:, 1], -2 * step) < 1e-15 / damping
    assert Cholesky().work(gram) < Cholesky().work(DenseGram(np.eye(80)))
    assert isinstance(linear_solver_for(gram), Cholesky)


def test_the_kernel_needs_damping():
    gram = KernelGram(np.random.default_rng(1).standard_normal((3, 8)))
    with pytest.raises(NotPositive, match="damping of every parameter"):
        factorise(gram, np.zeros(8))
    with pytest.raises(NotPositive, match="too small"):
        factorise(gram, np.full(8, 1e-30))(np.ones(8))
    with pytest.raises(NotPositive, match="not finite"):
        factorise(KernelGram(np.full((2, 3), np.nan)), np.ones(3))


def test_rows_are_kept_only_where_there_are_fewer_than_parameters():
    field, samples = underdetermined()
    assert RowObjective(field, samples).by_rows
    many = RowObjective(hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 1, 2), samples)
    assert not many.by_rows
    assert isinstance(many.linearise(np.zeros(many.size)).curvature, DenseGram)


def test_sums_of_bands_and_sparse_matrices_are_those_of_their_products():
    rng, n, band = np.random.default_rng(0), 12, 3
    ordering = Ordering(rng.permutation(n), n, 0, band)
    near = np.abs(np.subtract.outer(ordering.place, ordering.place))

    def symmetric(reach):
        matrix = rng.normal(size=(n, n))
        return np.where(near <= reach, matrix + matrix.T, 0.0)

    def banded(matrix):
        lower = np.zeros((band + 1, n), order="F")
        i, j = np.nonzero((near <= band) & (ordering.place[:, None] >= ordering.place))
        lower[ordering.place[i] - ordering.place[j], ordering.place[j]] = matrix[i, j]
        return BandGram(ordering, lower, np.zeros((n, 0)), np.zeros((0, 0)))

    parts = [symmetric(band) for _ in range(2)], [symmetric(reach) for reach in (1, 3, 2)]
    sparse = [SparseGram(sp.csr_array(m)) for m in parts[1]]
    # zeros that are stored, outside the band too, must not overwrite what stands there
    rows, columns = np.nonzero(np.ones((n, n)))
    sparse[0] = SparseGram(sp.csr_array((parts[1][0][rows, columns], (rows, columns)), shape=(n, n)))
    grams = [banded(parts[0][0]), sparse[0], sparse[1], banded(parts[0][1]), sparse[2]]
    each = [parts[0][0], parts[1][0], parts[1][1], parts[0][1], parts[1][2]]
    combined = BandCombination(grams)
    x = rng.normal(size=n)
    for scales in (np.array([1.0, 2.0, 0.0, -3.0, 0.5]), np.zeros(5), np.array([0.0, 1.0, 1.0, 0.0, 0.0])):
        expected = sum(c * m for c, m in zip(scales, each, strict=True)) @ x
        np.testing.assert_allclose(combined(scales).mv(x), expected, atol=1e-12)
