"""Steps of equal size for all directions of a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as classical

from hierax.models.muon import SIZE, muon

SHAPES = (3, 3, 12, 16), (16, 16), (16, 40), (3, 12, 16), (16,), (5, 2)


def as_matrix(leaf):
    whole = leaf.ndim > 1 and leaf.shape[-1] >= 8
    return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1) if whole else None


def test_steps_are_those_of_the_polynomials_of_the_matrix_itself():
    rng = np.random.default_rng(0)
    gradient = {f"k{i}": jnp.asarray(rng.standard_normal(shape), jnp.float32) for i, shape in enumerate(SHAPES)}
    numbers = lambda tree: jax.tree.map(as_matrix, tree)  # noqa: E731
    known = classical(
        0.5, adam_learning_rate=0.3, consistent_rms=SIZE, adam_b2=0.99, muon_weight_dimension_numbers=numbers
    )
    own = muon(0.5, 0.3)
    expected, _ = known.update(gradient, known.init(gradient), gradient)
    state = own.init(gradient)
    for _ in range(3):
        # a gradient that stays leads to the same step again
        step, state = own.update(gradient, state, gradient)
        for name in ("k0", "k1", "k2", "k3"):
            assert np.linalg.norm(step[name] - expected[name]) < 1e-3 * np.linalg.norm(expected[name]), name
    sizes = np.linalg.svd(np.asarray(step["k0"]).reshape(-1, 16), compute_uv=False) / (0.5 * SIZE * np.sqrt(108))
    assert 0.5 < sizes.min() < sizes.max() < 1.3


def test_a_gradient_of_zero_leaves_the_decay_of_kernels_alone():
    params = {"kernel": jnp.ones((9, 8), jnp.float32), "bias": jnp.ones(8, jnp.float32)}
    made = muon(0.5, 1.0, 0.2)
    step, _ = made.update(jax.tree.map(jnp.zeros_like, params), made.init(params), params)
    np.testing.assert_allclose(step["kernel"], -0.1, rtol=1e-6)
    assert not np.any(np.asarray(step["bias"]))
