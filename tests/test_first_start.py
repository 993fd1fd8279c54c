"""Equations without a tangent where training would start: their sizes, and the start that is taken in its place."""

import jax.numpy as jnp
import pytest

import hierax as hx
from hierax.objective.sizes import own_units


def p_laplace(p: float, force: float = 1.0, length: float = 1.0) -> hx.Problem:
    """`(|u'|^(p-2) u')' = -force` with zero ends."""

    def interior(u, x):
        def flux(y):
            slope = hx.derivative(u, "x")(y)
            return jnp.abs(slope) ** (p - 2) * slope

        return hx.derivative(flux, "x")(x) + force

    def exact(x):
        q = p / (p - 1)
        middle = length / 2
        return jnp.sign(force) * abs(force) ** (1 / (p - 1)) / q * (middle**q - jnp.abs(x[0] - middle) ** q)

    domain = hx.Box([0.0], [length], names=("x",))
    terms = (hx.Residual("interior", interior), hx.Residual("ends", lambda u, x, normal: u(x), on="boundary"))
    return hx.Problem(domain=domain, terms=terms, reference=hx.Reference(exact, 1e-12))


@pytest.mark.parametrize("p", [3.0, 6.0])
def test_sizes_of_powers_follow_from_themselves(p: float) -> None:
    size = float(own_units(p_laplace(p)).sizes["u"])
    assert 0.05 < size < 5.0  # the solution reaches 0.24 to 0.29; sizes that follow each other in turn swing away
    scaled = float(own_units(p_laplace(p, force=1e-7, length=1e3)).sizes["u"])
    assert scaled / size == pytest.approx(1e-7 ** (1 / (p - 1)) * 1e3 ** (p / (p - 1)), rel=1e-6)


def test_training_begins_where_an_equation_has_a_tangent() -> None:
    """At zero the operator vanishes to first order: no step led away. The start finds the sign."""
    solution = hx.train(p_laplace(4.0, force=-3e-6), levels=5, budget=120.0)
    assert solution.accuracy.relative_l2 < 5e-3  # the fourth derivative of |x|^(4/3) is what is left


def test_training_begins_where_an_equation_is_finite() -> None:
    """`div(|grad u| grad u) = f` in two coordinates, whose derivative at a constant is not finite."""

    def exact(x):
        return jnp.exp(x[0]) * jnp.sin(x[1] + 0.3)

    def flux(u):
        return lambda y: jnp.linalg.norm(hx.gradient(u)(y)) * hx.gradient(u)(y)

    def interior(u, x):
        return hx.divergence(flux(u))(x) - hx.divergence(flux(exact))(x)

    problem = hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")),
        terms=(
            hx.Residual("interior", interior),
            hx.Residual("wall", lambda u, x, normal: u(x) - exact(x), on="boundary"),
        ),
        reference=hx.Reference(exact, 1e-12),
    )
    assert hx.train(problem, levels=1, budget=120.0).accuracy.relative_l2 < 1e-7


def test_a_minimum_is_left_by_a_domain_that_grows() -> None:
    """Blasius' equation on a long interval, from zero a minimum that is no solution; of Howarth `u''(0) = 0.33206`."""

    def interior(u, x):
        return hx.derivative(u, "xxx")(x) + 0.5 * u(x) * hx.derivative(u, "xx")(x)

    def plate(u, x, normal):
        return jnp.stack([u(x), hx.derivative(u, "x")(x)])

    problem = hx.Problem(
        domain=hx.Box([0.0], [12.0], names=("x",)),
        terms=(
            hx.Residual("interior", interior),
            hx.Residual("plate", plate, on=hx.Face("x", "lower")),
            hx.Residual("far", lambda u, x, normal: hx.derivative(u, "x")(x) - 1.0, on=hx.Face("x", "upper")),
        ),
    )
    solution = hx.train(problem, levels=5, budget=120.0)
    assert solution.evaluate([[0.0]], "u_xx")[0] == pytest.approx(0.332057, abs=2e-6)
