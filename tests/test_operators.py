"""Differential operators against derivatives worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hierax._errors import InputError
from hierax.problems import coordinates, derivative, divergence, gradient, laplacian
from hierax.problems.operators import parse_axes

POINT = jnp.array([0.3, -0.7])


def scalar(x):
    return jnp.sin(2.0 * x[0]) * jnp.exp(x[1])


def vector(x):
    return jnp.stack([x[0] ** 2 * x[1], jnp.cos(x[0] * x[1]), x[1] ** 3])


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-13, atol=1e-14)


def test_derivatives_by_name_and_by_axis():
    s, c, e = jnp.sin(0.6), jnp.cos(0.6), jnp.exp(-0.7)
    with coordinates(("x", "y")):
        close(derivative(scalar, "x")(POINT), 2 * c * e)
        close(derivative(scalar, "xy")(POINT), 2 * c * e)
        close(derivative(scalar, "yx")(POINT), 2 * c * e)
        close(derivative(scalar, "xxy")(POINT), -4 * s * e)
        close(derivative(scalar, "x", 3)(POINT), -8 * c * e)
        close(derivative(scalar, "xy", 2)(POINT), -4 * s * e)
    close(derivative(scalar, 0, 2)(POINT), -4 * s * e)
    close(derivative(scalar, np.int64(1))(POINT), s * e)
    close(derivative(scalar, (0, 1))(POINT), 2 * c * e)


def test_vector_unknowns_keep_components_first():
    x, y = POINT
    with coordinates(("x", "y")):
        close(derivative(vector, "x")(POINT), [2 * x * y, -y * jnp.sin(x * y), 0.0])
        close(derivative(vector, "xy")(POINT), [2 * x, -jnp.sin(x * y) - x * y * jnp.cos(x * y), 0.0])
    assert gradient(vector)(POINT).shape == (3, 2)
    close(gradient(vector)(POINT)[2], [0.0, 3 * y**2])
    close(laplacian(vector)(POINT), [2 * y, -(x**2 + y**2) * jnp.cos(x * y), 6 * y])


def test_laplacian_leaves_time_out():
    close(laplacian(scalar)(POINT), -3 * scalar(POINT))
    with coordinates(("x", "y")):
        close(laplacian(scalar)(POINT), -3 * scalar(POINT))
    with coordinates(("x", "t")):
        close(laplacian(scalar)(POINT), -4 * scalar(POINT))


def test_divergence_of_a_flux_written_as_lambda():
    def k(x):
        return 1.0 + x[0] ** 2

    close(
        divergence(lambda x: k(x) * gradient(scalar)(x))(POINT),
        k(POINT) * laplacian(scalar)(POINT) + 2 * POINT[0] * derivative(scalar, 0)(POINT),
    )


def test_divergence_of_rows_and_in_space_alone():
    def stress(x):
        return jnp.stack([jnp.stack([x[0] ** 2, x[0] * x[1]]), jnp.stack([x[1] ** 2, x[1] ** 3])])

    close(divergence(stress)(POINT), [2 * POINT[0] + POINT[0], 3 * POINT[1] ** 2])
    with coordinates(("t", "x")):
        close(divergence(lambda x: jnp.stack([x[0] * x[1] ** 2]))(POINT), 2 * POINT[0] * POINT[1])
    with pytest.raises(InputError, match="flux of shape"):
        divergence(vector)(POINT)
    with pytest.raises(InputError, match="flux of shape"):
        divergence(scalar)(POINT)


def test_operators_pass_through_jit_vmap_and_reverse_mode():
    points = jnp.linspace(0.0, 1.0, 10).reshape(5, 2)

    def total(a):
        return jnp.sum(jax.vmap(laplacian(lambda x: a * scalar(x)))(points))

    close(jax.jit(jax.grad(total))(2.0), total(1.0))


@pytest.mark.parametrize(
    ("spec", "names", "axes"),
    [
        ("xxy", ("x", "y"), (0, 0, 1)),
        ("x10x1", ("x1", "x10"), (1, 0)),
        ("x1 x10,x1", ("x1", "x10"), (0, 1, 0)),
        ("x_y", ("x", "y"), (0, 1)),
        ("theta_x", ("x", "theta_x"), (1,)),
        ("abc", ("a", "ab", "bc"), (0, 2)),
        ("tx", ("t", "x"), (0, 1)),
    ],
)
def test_names_of_several_letters(spec, names, axes):
    assert parse_axes(spec, names) == axes


@pytest.mark.parametrize("spec", ["z", "xz", "", "x-y"])
def test_unreadable_names_are_refused(spec):
    with pytest.raises(InputError) as caught, coordinates(("x", "y")):
        derivative(scalar, spec)
    assert "x, y" in caught.value.remedy
    assert repr(spec) in caught.value.what


def test_axes_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="axis 2"):
        derivative(scalar, 2)(POINT)
    with pytest.raises(InputError, match="axis -1"):
        derivative(scalar, -1)
    with pytest.raises(InputError, match="order 0"):
        derivative(scalar, 0, 0)
    with pytest.raises(InputError, match=r'write derivative\(u, "xy"\)'):
        derivative(scalar, "x", "y")  # pyright: ignore


def test_names_need_a_problem():
    with pytest.raises(InputError) as caught:
        derivative(scalar, "x")
    assert "hx.coordinates" in caught.value.remedy
