"""Densities of known spectra, condition numbers, effective dimension, noise and alignment of gradients."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.dynamics import curvature as cu
from hierax.objective import flat_parameters
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples

VALUES = np.r_[np.linspace(0.0, 1.0, 380), np.full(20, 50.0)]
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(400, 400)))[0]
MATRIX = (TURN * VALUES) @ TURN.T


def test_the_density_has_the_moments_and_the_outliers_of_the_spectrum():
    found = cu.density(lambda v: MATRIX @ v, 400, steps=25, probes=12)
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.mean(lambda t: t) == pytest.approx(VALUES.mean(), rel=0.2)
    assert found.share(40.0, 60.0) == pytest.approx(0.05, abs=0.02)
    assert found.share(-1e-9, 0.5) == pytest.approx(0.475, abs=0.08)
    assert found.nodes[-1] == pytest.approx(50.0, rel=1e-8)
    expected = np.sum(VALUES / (VALUES + 0.1))
    assert cu.effective_dimension(found, 400, 0.1) == pytest.approx(expected, rel=0.1)


def test_few_different_eigenvalues_end_the_iteration():
    diagonal, beside = cu.lanczos(lambda v: np.where(np.arange(50) < 25, 2.0, 3.0) * v, np.ones(50), 10)
    assert len(diagonal) == 2
    assert len(beside) == 1


def test_a_preconditioner_is_measured():
    scale = np.geomspace(1.0, 1e6, 120)
    inner = 2.0 * np.eye(120) - np.eye(120, k=1) * 0.9 - np.eye(120, k=-1) * 0.9
    matrix = np.sqrt(scale)[:, None] * inner * np.sqrt(scale)
    found = cu.conditioning(lambda v: matrix @ v, lambda r: r / np.diag(matrix), 120, steps=120)
    jacobi = np.linalg.cond(inner / 2.0)
    assert found.preconditioned == pytest.approx(jacobi, rel=1e-6)
    assert found.plain == pytest.approx(np.linalg.cond(matrix), rel=1e-3)
    assert found.plain > 1e4 * found.preconditioned


def test_signal_noise_and_alignment():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 3))
    assert cu.signal_to_noise(noise + np.array([2.0, 0.0, 0.0])) == pytest.approx(2.0 / np.sqrt(3.0), rel=0.05)
    assert cu.signal_to_noise(noise) < 0.1
    angle = 0.7
    pair = np.array([[3.0, 0.0], [0.1 * np.cos(angle), 0.1 * np.sin(angle)]])
    assert cu.alignment(pair) == pytest.approx(np.cos(angle))
    assert cu.alignment(np.array([[1.0, 0.0], [0.0, 0.0]])) == pytest.approx(1.0)


def test_hessian_and_gradients_of_terms():
    field = hx.MLP([1, 3, 1], key=0)
    terms = [SquaredResidual(f"to {c}", lambda u, p, c=c: jnp.atleast_1d(u(p.x) - c)) for c in (1.0, -1.0)]
    x = np.linspace(-1, 1, 10)[:, None]
    objective = RowObjective(field, [make_samples(term, x, np.full(10, 0.1)).scaled(2.0) for term in terms])
    theta = flat_parameters(field)[0]
    each = cu.term_gradients(objective, theta)
    np.testing.assert_allclose(each.sum(axis=0), objective.value_and_gradient(theta)[1], atol=1e-12)
    assert cu.alignment(each) < 0.0
    product, direction, h = cu.hessian_product(objective, theta), np.random.default_rng(1).normal(size=theta.size), 1e-5
    slopes = [objective.value_and_gradient(theta + s * h * direction)[1] for s in (1, -1)]
    np.testing.assert_allclose(product(direction), (slopes[0] - slopes[1]) / (2 * h), rtol=1e-5, atol=1e-7)
