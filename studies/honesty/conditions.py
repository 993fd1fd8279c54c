"""Mistakes in the terms: contradictions, conditions that say nothing, indices out of range, ill-posed equations."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, enter, fixed, line, sloped

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])


@enter()
def index_out_of_range() -> Posed:
    """A source that reads `x[2]` in two dimensions."""
    terms = (hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) - jnp.exp(x[2])), fixed("edge"))
    return Posed(hx.Problem(SQUARE, terms), ())


@enter()
def index_of_a_component_out_of_range() -> Posed:
    """A condition on the third component of a plane displacement."""
    terms = (
        hx.Residual("balance", lambda w, x: hx.laplacian(w.v)(x) + 1.0),
        hx.Residual("edge", lambda w, x, normal: w.v(x)[2], on="boundary"),
        hx.Residual("x", lambda w, x, normal: w.v(x)[0], on="boundary"),
    )
    return Posed(hx.Problem(SQUARE, terms, unknowns={"v": hx.Function(2)}), ())


@enter()
def condition_without_an_unknown() -> Posed:
    """A condition at the right end that forgets `u`."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 2.0),
        fixed("left", 0.0, LEFT),
        hx.Residual("right", lambda u, x, normal: x[0] - 1.0, on=END),
    )
    return Posed(hx.Problem(line(1.0), terms), ())


@enter(quick=True)
def slope_and_two_values() -> Posed:
    """`u' = 2` with `u(0) = 0` and `u(1) = 5`: no solution."""
    terms = (
        hx.Residual("slope", lambda u, x: hx.derivative(u, "x")(x) - 2.0),
        fixed("left", 0.0, LEFT),
        fixed("right", 5.0, END),
    )
    return Posed(hx.Problem(line(1.0), terms), ())


@enter()
def heated_and_insulated() -> Posed:
    """`u'' = -1` with both ends insulated, the value at one place given: the heat has nowhere to go."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 1.0),
        sloped("insulated"),
        hx.Data("reading", np.array([[0.4]]), np.array([3.0]), noise=0.0),
    )
    return Posed(hx.Problem(line(1.0), terms), ())


@enter()
def readings_that_contradict() -> Posed:
    """`u'' = -8` with zero ends has 1 in the middle; five readings of 1.5 with noise 0.001 say otherwise."""
    points = np.linspace(0.4, 0.6, 5)[:, None]
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 8.0),
        fixed("ends"),
        hx.Data("readings", points, np.full(5, 1.5), noise=1e-3),
    )
    return Posed(hx.Problem(line(1.0), terms), ())


@enter()
def heat_backwards() -> Posed:
    """`u_t = -0.5 u_xx` from `sin(pi x)`: ill-posed, though one formula satisfies it."""
    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) + 0.5 * hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: jnp.sin(jnp.pi * x[1]), START),
    )
    exact = lambda x: jnp.exp(0.5 * jnp.pi**2 * x[0]) * jnp.sin(jnp.pi * x[1])  # noqa: E731
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.5, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter()
def start_and_end_of_heat() -> Posed:
    """The heat equation with a start, walls, and an end that does not belong to them."""
    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - 0.1 * hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: jnp.sin(jnp.pi * x[1]), START),
        fixed("end", lambda x: jnp.sin(jnp.pi * x[1]), hx.Face("t", "upper")),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms), ())
