"""Convection with little diffusion, and waves of high frequency."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

import hierax as hx
from studies.honesty.battery import END, LEFT, Posed, enter, fixed, line


@enter()
def outflow_layer() -> Posed:
    """`-2e-5 u'' + u' = 1` with zero ends: a layer of 2e-5 at the right."""
    small = 2e-5
    terms = (
        hx.Residual("balance", lambda u, x: -small * hx.derivative(u, "xx")(x) + hx.derivative(u, "x")(x) - 1.0),
        fixed("ends"),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": lambda x: x[0] - jnp.exp((x[0] - 1.0) / small)},))


@enter()
def turning_point() -> Posed:
    """`1e-5 u'' + x u' = 0`, `u(-1) = -1`, `u(1) = 1`: a layer of 3e-3 in the middle."""
    small = 1e-5
    terms = (
        hx.Residual("balance", lambda u, x: small * hx.derivative(u, "xx")(x) + x[0] * hx.derivative(u, "x")(x)),
        fixed("left", -1.0, LEFT),
        fixed("right", 1.0, END),
    )
    return Posed(hx.Problem(line(1.0, -1.0), terms), ({"u": lambda x: erf(x[0] / np.sqrt(2.0 * small))},))


@enter()
def channel_with_a_layer() -> Posed:
    """`-0.002 laplacian(u) + u_x = f` on the unit square, `u = X(x) sin(pi y)` with a layer at the outflow."""
    small = 2e-3
    along = lambda s: s - jnp.exp((s - 1.0) / small)  # noqa: E731

    def balance(u, x):
        source = (1.0 + small * jnp.pi**2 * along(x[0])) * jnp.sin(jnp.pi * x[1])
        return -small * hx.laplacian(u)(x) + hx.derivative(u, "x")(x) - source

    exact = lambda x: along(x[0]) * jnp.sin(jnp.pi * x[1])  # noqa: E731
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Residual("balance", balance), fixed("edge")))
    return Posed(problem, ({"u": exact},))


@enter()
def slow_reaction() -> Posed:
    """`-1e-6 u'' + u = x` with zero ends: a layer of 1e-3 at the right."""
    small = 1e-3
    terms = (
        hx.Residual("balance", lambda u, x: -(small**2) * hx.derivative(u, "xx")(x) + u(x) - x[0]),
        fixed("ends"),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": lambda x: x[0] - jnp.exp((x[0] - 1.0) / small)},))


@enter()
def fourteen_waves() -> Posed:
    """`u'' + 90^2 u = 0`, `u(0) = 0`, `u(1) = 1`."""
    terms = (
        hx.Residual("helmholtz", lambda u, x: hx.derivative(u, "xx")(x) + 8100.0 * u(x)),
        fixed("left", 0.0, LEFT),
        fixed("right", 1.0, END),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": lambda x: jnp.sin(90.0 * x[0]) / np.sin(90.0)},))


@enter()
def plane_wave() -> Posed:
    """`laplacian(u) + 35^2 u = 0` on the unit square with the values of a plane wave on its boundary."""
    exact = lambda x: jnp.sin(35.0 * (0.8 * x[0] + 0.6 * x[1]) + 0.3)  # noqa: E731
    terms = (hx.Residual("helmholtz", lambda u, x: hx.laplacian(u)(x) + 1225.0 * u(x)), fixed("edge", exact))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},))


@enter()
def ripple() -> Posed:
    """`u'' = f` whose solution is `sin(3 x) + 0.2 sin(400 x)`."""
    exact = lambda x: jnp.sin(3.0 * x[0]) + 0.2 * jnp.sin(400.0 * x[0])  # noqa: E731

    def balance(u, x):
        return hx.derivative(u, "xx")(x) + 9.0 * jnp.sin(3.0 * x[0]) + 0.2 * 160000.0 * jnp.sin(400.0 * x[0])

    problem = hx.Problem(line(1.0), (hx.Residual("balance", balance), fixed("ends", exact)))
    return Posed(problem, ({"u": exact},))


@enter()
def composite() -> Posed:
    """`(k u')' = -1`, `k = 1 / (2 + 1.8 cos(2 pi x / 0.01))`: a hundred periods of a coefficient, zero ends."""
    wave = 2.0 * np.pi / 0.01
    resistance = lambda x: 2.0 + 1.8 * jnp.cos(wave * x)  # noqa: E731

    def exact(x):
        # k u' = 1/2 - x by symmetry; the integral of (1/2 - x) (2 + 1.8 cos(wave x))
        s = x[0]
        smooth = s - s**2
        return smooth + 1.8 * ((0.5 - s) * jnp.sin(wave * s) / wave + (1.0 - jnp.cos(wave * s)) / wave**2)

    flux = lambda u: lambda x: hx.gradient(u)(x) / resistance(x[0])  # noqa: E731
    terms = (hx.Residual("balance", lambda u, x: hx.divergence(flux(u))(x) + 1.0), fixed("ends"))
    return Posed(hx.Problem(line(1.0), terms), ({"u": exact},))
