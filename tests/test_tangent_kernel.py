"""Tangent kernels: blocks, eigenpairs by three ways, shares of the residual, decay under gradient descent, weights."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.dynamics import tangent_kernel as tk
from hierax.objective import flat_parameters
from hierax.objective.curvature import MatrixFreeGram
from hierax.objective.objective import Linearisation
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples


def composite(field, inside=40):
    """A derivative inside, a value at two ends."""
    slope = SquaredResidual("slope", lambda u, p: jnp.atleast_1d(hx.derivative(u, 0)(p.x) - jnp.cos(5 * p.x[0])))
    value = SquaredResidual("value", lambda u, p: jnp.atleast_1d(u(p.x) - p.x[0]))
    points = np.linspace(-1, 1, inside)[:, None]
    ends = np.array([[-1.0], [1.0]])
    samples = [make_samples(slope, points, np.full(inside, 2.0 / inside)), make_samples(value, ends, np.ones(2))]
    return RowObjective(field, [samples[0], samples[1].scaled(3.0)], local=False)


@pytest.fixture(scope="module")
def network():
    field = hx.FourierNetwork([1, 16, 1], modes=24, scale=4.0, key=0)
    return composite(field), flat_parameters(field)[0]


def test_blocks_traces_and_the_curvature_belong_together(network):
    objective, theta = network
    kernel, at = tk.tangent_kernel(objective, theta), objective.linearise(theta)
    assert kernel.names == ("slope", "value")
    whole = np.block([[kernel.block(a, b) for b in (0, 1)] for a in (0, 1)])
    np.testing.assert_allclose(whole, kernel.matrix, atol=1e-12)
    np.testing.assert_allclose(kernel.traces, [np.trace(kernel.block(k, k)) for k in (0, 1)])
    np.testing.assert_allclose(kernel.traces, tk.term_traces(objective, theta))
    np.testing.assert_allclose(kernel.rows.T @ kernel.residuals, at.gradient, atol=1e-10)
    assert 0.5 * kernel.residuals @ kernel.residuals == pytest.approx(at.value)


def test_eigenpairs_dense_and_by_products_alone_agree(network):
    objective, theta = network
    kernel, at = tk.tangent_kernel(objective, theta), objective.linearise(theta)
    values, vectors = kernel.eigenpairs(8)
    shares = (vectors.T @ kernel.residuals) ** 2 / (kernel.residuals @ kernel.residuals)
    dense = tk.leading_modes(at, 8)
    np.testing.assert_allclose(dense.eigenvalues, values, rtol=1e-8)
    np.testing.assert_allclose(dense.shares, shares, atol=1e-8)
    assert 0.5 < dense.shares.sum() <= 1.0
    # the same operator inside a larger space, of which only products are known
    size = 5 * len(theta) + tk.DENSE

    def product(v):
        return np.r_[at.curvature.mv(v[: len(theta)]), np.zeros(size - len(theta))]

    wide = Linearisation(
        at.value, np.r_[at.gradient, np.zeros(size - len(theta))], MatrixFreeGram(product, np.ones(size))
    )
    lanczos = tk.leading_modes(wide, 8)
    np.testing.assert_allclose(lanczos.eigenvalues, values, rtol=1e-6)
    np.testing.assert_allclose(lanczos.shares, shares, atol=1e-5)


def test_twenty_modes_decay_as_predicted(network):
    objective, theta = network
    largest = tk.tangent_kernel(objective, theta).eigenpairs(1)[0][0]
    found = tk.decay(objective, theta, rate=1e-3 / largest, steps=2, count=20)
    assert found.predicted[0] > 5 * found.predicted[-1]
    np.testing.assert_allclose(found.observed, found.predicted, rtol=0.05)


def test_a_local_field_has_the_kernel_of_its_rows():
    field = hx.SplineGrid.uniform([-1.0], [1.0], 6, 3)
    theta = flat_parameters(field)[0] + 0.1
    objective = composite(field)
    local = RowObjective(field, objective.samples, local=True)
    np.testing.assert_allclose(
        tk.tangent_kernel(local, theta).matrix, tk.tangent_kernel(objective, theta).matrix, atol=1e-10
    )
