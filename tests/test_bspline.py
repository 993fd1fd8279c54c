"""One-dimensional splines: evaluation, nesting, change of basis."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from hierax.fields.axis import Clamped, Extended, Periodic, SplineAxis, insertion
from hierax.fields.bspline import (
    NotNested,
    breakpoints_of,
    clamped_knots,
    extended_knots,
    find_interval,
    greville,
    insertion_matrix,
    periodic_knots,
    power_relu_matrix,
    uniform_knots,
)

DEGREES = st.integers(1, 5)
SEEDS = st.integers(0, 2**16)
POINTS = np.linspace(-0.4, 1.4, 91)
INSIDE = np.linspace(0.0, 1.0, 91)


def local_basis(x, local_knots, degree):
    """The `p + 1` B-splines alive on one interval, by the scheme of Cox and de Boor; outside they are continued."""
    values = jnp.ones((1,), dtype=jnp.result_type(x, local_knots))
    for r in range(1, degree + 1):
        right = local_knots[degree : degree + r] - x
        left = x - local_knots[degree - r : degree]
        share = values / (right + left)
        values = jnp.zeros(r + 1, values.dtype).at[:r].set(share * right).at[1:].add(share * left)
    return values


@functools.partial(jax.jit, static_argnums=2)
def alive_functions(points, local_knots, degree):
    return jax.vmap(lambda x, knots: local_basis(x, knots, degree))(points, local_knots)


@jax.jit
def alive_slopes(points, pieces):
    return jax.vmap(lambda x, piece: jax.jacobian(piece)(x))(points, pieces)


def spline(knots, degree, coefficients, points):
    """Values of a spline; compiled once for a degree because the kernel sees local knots only."""
    breakpoints = breakpoints_of(knots, degree)
    i = np.clip(np.searchsorted(breakpoints, points, side="right") - 1, 0, breakpoints.size - 2)
    local_knots = np.asarray(knots)[i[:, None] + 1 + np.arange(2 * degree)]
    alive = np.asarray(alive_functions(points, local_knots, degree))
    return (alive * np.asarray(coefficients)[i[:, None] + np.arange(degree + 1)]).sum(axis=1)


def random_breakpoints(seed, intervals, extra=0):
    """Breakpoints of [0, 1] that keep a distance, and a refinement by `extra` more."""
    generator = np.random.default_rng(seed)
    fine = np.cumsum(np.r_[0.0, 0.3 + generator.random(intervals + extra)])
    fine /= fine[-1]
    keep = np.sort(generator.permutation(np.arange(1, intervals + extra))[: intervals - 1])
    return fine[np.r_[0, keep, -1]], fine


@pytest.mark.parametrize("degree", [1, 2, 3, 4, 5])
def test_values_and_slopes_agree_with_scipy(degree):
    points, _ = random_breakpoints(degree, 5)
    for rule in (Extended(), Clamped()):
        knots = rule.knots(points, degree)
        coefficients = np.random.default_rng(degree).normal(size=5 + degree)
        inner = (INSIDE[1:] + INSIDE[:-1]) / 2
        reference = BSpline(knots, coefficients, degree)
        np.testing.assert_allclose(spline(knots, degree, coefficients, inner), reference(inner), rtol=0, atol=1e-13)
        axis = SplineAxis(points, degree, rule)
        slopes = alive_slopes(inner, axis.piece(axis.locate(inner)))
        alive = np.asarray(coefficients)[np.asarray(axis.alive(axis.locate(inner)))]
        np.testing.assert_allclose((slopes * alive).sum(axis=1), reference.derivative()(inner), rtol=0, atol=1e-11)


@given(DEGREES, SEEDS)
def test_partition_of_unity_and_linear_precision(degree, seed):
    points, _ = random_breakpoints(seed, 5)
    for knots in (extended_knots(points, degree), clamped_knots(points, degree)):
        ones = np.ones(5 + degree)
        np.testing.assert_allclose(spline(knots, degree, ones, POINTS), 1.0, atol=1e-11)
        identity = spline(knots, degree, greville(knots, degree), INSIDE)
        np.testing.assert_allclose(identity, INSIDE, atol=1e-13)


@given(DEGREES, SEEDS, st.floats(-1.0, 2.0))
def test_polynomials_are_reproduced_everywhere(degree, seed, centre):
    # Marsden: the coefficients of (x - c)^p are products of t - c over p consecutive knots
    points, _ = random_breakpoints(seed, 5)
    for knots in (extended_knots(points, degree), clamped_knots(points, degree)):
        windows = np.lib.stride_tricks.sliding_window_view(knots[1:-1], degree)
        values = spline(knots, degree, (windows - centre).prod(axis=1), POINTS)
        np.testing.assert_allclose(values, (POINTS - centre) ** degree, atol=1e-11)


@given(DEGREES, SEEDS, st.sampled_from([extended_knots, clamped_knots]))
def test_insertion_keeps_the_function_inside_and_outside(degree, seed, rule):
    coarse, fine = random_breakpoints(seed, 3, extra=2)
    coarse_knots, fine_knots = rule(coarse, degree), rule(fine, degree)
    coefficients = np.random.default_rng(seed).normal(size=3 + degree)
    matrix = insertion_matrix(coarse_knots, fine_knots, degree)
    before = spline(coarse_knots, degree, coefficients, POINTS)
    after = spline(fine_knots, degree, matrix @ coefficients, POINTS)
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12 * np.abs(before).max())
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-13)


@given(DEGREES, SEEDS)
def test_insertion_in_two_steps_is_insertion_at_once(degree, seed):
    coarse, middle = random_breakpoints(seed, 3, extra=3)
    fine = np.sort(np.r_[middle, (middle[1:] + middle[:-1]) / 2])
    first, second, third = (extended_knots(points, degree) for points in (coarse, middle, fine))
    at_once = insertion_matrix(first, third, degree)
    two_steps = insertion_matrix(second, third, degree) @ insertion_matrix(first, second, degree)
    # knots outside the domain are met by extrapolation, whose numbers exceed one
    np.testing.assert_allclose((two_steps - at_once).toarray(), 0.0, atol=1e-11 * abs(two_steps).max())


@given(DEGREES, SEEDS)
def test_periodic_insertion_keeps_the_function(degree, seed):
    coarse, fine = random_breakpoints(seed, 6, extra=3)
    axes = [SplineAxis(points, degree, Periodic()) for points in (coarse, fine)]
    coefficients = np.random.default_rng(seed).normal(size=6)
    inserted = insertion(*axes) @ coefficients
    assert inserted.shape == (9,)
    curves = []
    for axis, values in zip(axes, (coefficients, inserted), strict=True):
        unfolded = values[np.arange(axis.intervals + degree) % axis.size]
        curves.append(spline(axis.knots, degree, unfolded, INSIDE))
    np.testing.assert_allclose(curves[1], curves[0], atol=1e-12)
    assert abs(curves[0][0] - curves[0][-1]) < 1e-13


def test_a_missing_breakpoint_is_named():
    with pytest.raises(NotNested, match=r"0\.333333.* is missing"):
        insertion_matrix(uniform_knots(0, 1, 3, 2), uniform_knots(0, 1, 4, 2), 2)
    with pytest.raises(NotNested, match="domain"):
        insertion_matrix(uniform_knots(0, 1, 2, 2), extended_knots([-0.5, 0.0, 0.5, 1.0], 2), 2)
    doubled = extended_knots([0.0, 0.5, 0.5, 1.0], 2)
    with pytest.raises(NotNested, match="multiplicity"):
        insertion_matrix(doubled, uniform_knots(0, 1, 4, 2), 2)


@pytest.mark.parametrize("degree", [2, 3])
def test_repeated_breakpoints_lower_the_smoothness_only(degree):
    coarse = extended_knots([0.0, 0.4, 1.0], degree)
    fine = extended_knots([0.0, 0.4, 0.4, 1.0], degree)
    coefficients = np.random.default_rng(0).normal(size=2 + degree)
    before = spline(coarse, degree, coefficients, POINTS)
    after = spline(fine, degree, insertion_matrix(coarse, fine, degree) @ coefficients, POINTS)
    np.testing.assert_allclose(after, before, atol=1e-12 * np.abs(before).max())


@given(DEGREES, SEEDS)
def test_truncated_powers_span_the_splines(degree, seed):
    points, _ = random_breakpoints(seed, 4)
    knots = extended_knots(points, degree)
    matrix = power_relu_matrix(knots, degree)
    powers = np.maximum(INSIDE[:, None] - knots[: 4 + degree], 0.0) ** degree
    values = np.stack([spline(knots, degree, row, INSIDE) for row in np.eye(4 + degree)], axis=1)
    scale = np.abs(matrix).max() * np.abs(powers).max()
    np.testing.assert_allclose(powers @ matrix.T, values, atol=1e-13 * scale)


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_uniform_truncated_powers_have_the_binomial_stencil(degree):
    matrix = power_relu_matrix(uniform_knots(0.0, 1.0, 10, degree), degree)
    expected = [(-1) ** k * math.comb(degree + 1, k) * 10.0**degree / math.factorial(degree) for k in range(degree + 2)]
    np.testing.assert_allclose(matrix[0, : degree + 2], expected, rtol=1e-9)


def test_repeated_knots_have_no_truncated_powers():
    with pytest.raises(ValueError, match="repeated"):
        power_relu_matrix(clamped_knots([0.0, 0.5, 1.0], 2), 2)


@pytest.mark.parametrize("ends", [Extended(), Clamped(), Periodic()])
def test_intervals_are_found_with_and_without_search(ends):
    points = np.linspace(0.0, 1.0, 9)
    axis = SplineAxis(points, 3, ends)
    assert axis.equidistant == (ends != Clamped())
    x = jnp.array([-3.0, 0.0, 0.06, 0.126, 0.874, 0.876, 1.0, 7.0])
    np.testing.assert_array_equal(axis.locate(x), [0, 0, 0, 1, 6, 7, 7, 7])
    np.testing.assert_array_equal(find_interval(axis.knots, 3, x), [0, 0, 0, 1, 6, 7, 7, 7])
    shared, own = axis.piece(jnp.array([0, 5])), axis.pieces.take(jnp.array([0, 5]))
    for left, right in zip(jax.tree.leaves(shared), jax.tree.leaves(own), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-12)


def test_knot_vectors():
    np.testing.assert_allclose(uniform_knots(0.0, 1.0, 4, 2), np.arange(-2, 7) / 4)
    np.testing.assert_allclose(extended_knots([0.0, 0.2, 1.0], 2), [-0.4, -0.2, 0.0, 0.2, 1.0, 1.8, 2.6])
    np.testing.assert_allclose(clamped_knots([0.0, 0.2, 1.0], 2), [0, 0, 0, 0.2, 1, 1, 1])
    np.testing.assert_allclose(periodic_knots([0.0, 0.2, 1.0], 2), [-1.0, -0.8, 0.0, 0.2, 1.0, 1.2, 2.0])
    np.testing.assert_allclose(breakpoints_of(periodic_knots([0.0, 0.2, 1.0], 3), 3), [0.0, 0.2, 1.0])
    # halving keeps the shared knots to the last bit
    assert set(uniform_knots(-0.3, 0.9, 7, 0)) <= set(uniform_knots(-0.3, 0.9, 14, 0))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: uniform_knots(1.0, 0.0, 4, 2), "below"),
        (lambda: uniform_knots(0.0, 1.0, 0, 2), "intervals >= 1"),
        (lambda: clamped_knots([0.0, 0.6, 0.5, 1.0], 2), "index 1"),
        (lambda: extended_knots([0.0, np.nan, 1.0], 2), "finite"),
    ],
)
def test_bad_knots_are_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
