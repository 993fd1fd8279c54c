"""Densities of known spectra and condition numbers."""

import numpy as np
import pytest

from hierax.dynamics import curvature as cu

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
