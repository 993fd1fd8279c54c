"""What points miss: narrow sources, pulses, spikes on the boundary, thin layers, jumps of coefficients."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

import hierax as hx
from studies.honesty.battery import END, LEFT, START, Posed, enter, fixed, line, sloped


def _gaussian(x: Any, center: float, width: float) -> Any:
    return norm.pdf((x - center) / width) / width


def _point_load(center: float, width: float) -> Posed:
    """`u'' = -g` with zero ends, `g` of mass 1."""

    def twice(x):
        s = (x - center) / width
        return width * (s * norm.cdf(s) + norm.pdf(s))

    exact = lambda x: (1.0 - x[0]) * (twice(0.0) - 0.0) + x[0] * twice(1.0) - twice(x[0])  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + _gaussian(x[0], center, width)),
        fixed("ends"),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": exact},))


@enter()
def load_of_a_thousandth() -> Posed:
    """A load of width 1e-3 at 0.6318."""
    return _point_load(0.6318, 1e-3)


@enter()
def load_of_a_hundred_thousandth() -> Posed:
    """A load of width 1e-5 at 0.2147."""
    return _point_load(0.2147, 1e-5)


@enter()
def hot_spot() -> Posed:
    """Poisson's equation whose solution is a Gaussian of width 0.012 on the unit square."""
    place, width = jnp.array([0.37, 0.71]), 0.012
    exact = lambda x: jnp.exp(-jnp.sum((x - place) ** 2) / (2.0 * width**2))  # noqa: E731

    def balance(u, x):
        square = jnp.sum((x - place) ** 2)
        return hx.laplacian(u)(x) - (square / width**4 - 2.0 / width**2) * exact(x)

    # the spot covers so little of the square that it has points of its own
    rng = np.random.default_rng(11)
    near = np.asarray(place) + 3.0 * width * rng.uniform(-1.0, 1.0, (1000, 2))
    points = np.concatenate([near, rng.uniform(0.0, 1.0, (1000, 2))])
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Residual("balance", balance), fixed("edge")))
    return Posed(problem, ({"u": exact},), points=points)


@enter()
def pulse_in_time() -> Posed:
    """`u' = -u + p(t)`, `u(0) = 0`, a pulse of width 1e-4 and mass 2 at 3.217 in `[0, 10]`."""
    center, width = 3.217, 1e-4

    def exact(x):
        return 2.0 * jnp.exp(-(x[0] - center) + 0.5 * width**2) * norm.cdf((x[0] - center) / width - width)

    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "t")(x) + u(x) - 2.0 * _gaussian(x[0], center, width)),
        fixed("start", 0.0, START),
    )
    return Posed(hx.Problem(line(10.0, name="t"), terms), ({"u": exact},))


@enter()
def switched_on() -> Posed:
    """`u' = -u + 5` from 0.731 on, `u' = -u` before; `u(0) = 1`."""
    law = hx.Residual("law", lambda u, x: hx.derivative(u, "t")(x) + u(x) - jnp.where(x[0] > 0.731, 5.0, 0.0))

    def exact(x):
        return jnp.exp(-x[0]) + jnp.where(x[0] > 0.731, 5.0 * (1.0 - jnp.exp(-(x[0] - 0.731))), 0.0)

    return Posed(hx.Problem(line(3.0, name="t"), (law, fixed("start", 1.0, START))), ({"u": exact},))


def _layered(conductivity: Any, exact: Any) -> Posed:
    """`(k u')' = 0` from 0 to 1."""
    flux = lambda u: lambda x: conductivity(x[0]) * hx.gradient(u)(x)  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.divergence(flux(u))(x)),
        fixed("left", 0.0, LEFT),
        fixed("right", 1.0, END),
    )
    # pointwise the jump is differentiated away, so that the equation says nothing about the truth
    return Posed(hx.Problem(line(1.0), terms), ({"u": exact},), satisfies=False)


@enter()
def wall_of_two_materials() -> Posed:
    """Conductivity 1 up to 0.437, then 25."""
    resistance = lambda x: jnp.minimum(x, 0.437) + jnp.maximum(x - 0.437, 0.0) / 25.0  # noqa: E731
    return _layered(lambda x: jnp.where(x > 0.437, 25.0, 1.0), lambda x: resistance(x[0]) / resistance(1.0))


@enter()
def thin_coating() -> Posed:
    """Conductivity 1, and 0.01 within 4e-3 of 0.531."""
    low, high = 0.527, 0.535
    resistance = lambda x: x + 99.0 * (jnp.clip(x, low, high) - low)  # noqa: E731
    conductivity = lambda x: jnp.where((x > low) & (x < high), 0.01, 1.0)  # noqa: E731
    return _layered(conductivity, lambda x: resistance(x[0]) / resistance(1.0))


@enter()
def two_storeys() -> Posed:
    """Conductivity 1 below 0.62 and 40 above on the unit square; fluxes through the sides are zero."""
    conductivity = lambda x: jnp.where(x[1] < 0.62, 1.0, 40.0)  # noqa: E731
    resistance = lambda y: jnp.minimum(y, 0.62) + jnp.maximum(y - 0.62, 0.0) / 40.0  # noqa: E731
    flux = lambda u: lambda x: conductivity(x) * hx.gradient(u)(x)  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.divergence(flux(u))(x)),
        sloped("sides", 0.0, (LEFT, END)),
        fixed("floor", 0.0, hx.Face("y", "lower")),
        fixed("roof", 1.0, hx.Face("y", "upper")),
    )
    exact = lambda x: resistance(x[1]) / resistance(1.0)  # noqa: E731
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},), satisfies=False)


@enter()
def inclusion() -> Posed:
    """Conductivity 8 inside of a circle of radius 0.45, 1 outside, in a far field along x."""
    radius, inside = 0.45, 8.0
    conductivity = lambda x: jnp.where(x[0] ** 2 + x[1] ** 2 < radius**2, inside, 1.0)  # noqa: E731

    def exact(x):
        square = jnp.maximum(x[0] ** 2 + x[1] ** 2, 1e-12)
        outer = x[0] * (1.0 - (inside - 1.0) / (inside + 1.0) * radius**2 / square)
        return jnp.where(square < radius**2, 2.0 * x[0] / (inside + 1.0), outer)

    flux = lambda u: lambda x: conductivity(x) * hx.gradient(u)(x)  # noqa: E731
    terms = (hx.Residual("balance", lambda u, x: hx.divergence(flux(u))(x)), fixed("edge", exact))
    return Posed(hx.Problem(hx.Box([-1.0, -1.0], [1.0, 1.0]), terms), ({"u": exact},), satisfies=False)


@enter()
def laser_on_the_edge() -> Posed:
    """Laplace's equation on the unit square, zero but for a spike of width 0.004 on the lower side at 0.283."""
    width, place = 0.004, 0.283
    order = np.arange(1, 500)
    size = (
        2.0 * width * np.sqrt(2 * np.pi) * np.exp(-0.5 * (order * np.pi * width) ** 2) * np.sin(order * np.pi * place)
    )
    wave = order * np.pi

    def exact(x):
        # sinh(wave (1 - y)) / sinh(wave) without overflow
        decay = (jnp.exp(-wave * x[1]) - jnp.exp(-wave * (2.0 - x[1]))) / (1.0 - jnp.exp(-2.0 * wave))
        return jnp.sum(size * decay * jnp.sin(wave * x[0]))

    spike = lambda x: jnp.exp(-0.5 * ((x[0] - place) / width) ** 2)  # noqa: E731
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        fixed("spike", spike, hx.Face("y", "lower")),
        fixed("cold", 0.0, (LEFT, END, hx.Face("y", "upper"))),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},))
