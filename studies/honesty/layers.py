"""Moving layers: shocks in a moving frame and merging ones, rarefactions, fronts, narrow pulses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, enter, fixed

EARLY = 0.02
"""Share of the time below which the exact solutions by quadrature are not compared: their kernel is too narrow."""


def burgers(viscosity: float) -> hx.Residual:
    """`u_t + u u_x = viscosity u_xx`."""

    def residual(u, x):
        return hx.derivative(u, "t")(x) + u(x) * hx.derivative(u, "x")(x) - viscosity * hx.derivative(u, "xx")(x)

    return hx.Residual("burgers", residual)


def cole_hopf(potential: Callable[[Any], Any], viscosity: float, lower: float, upper: float) -> Callable[[Any], Any]:
    """Solution of Burgers' equation from the start `d potential / dx` by the transformation of Cole and Hopf.

    `u = sum w (x - y) / t / sum w`, `w = exp(-(x - y)^2 / (4 nu t) - potential(y) / (2 nu))`, by the trapezoidal rule
    on a grid that is fine for the kernel from `EARLY` on.
    """
    y = jnp.linspace(lower, upper, int(np.ceil((upper - lower) / np.sqrt(2 * viscosity * EARLY) * 4.0)))
    start = potential(y) / (2.0 * viscosity)

    def exact(x):
        weights = jax.nn.softmax(-((x[1] - y) ** 2) / (4.0 * viscosity * x[0]) - start)
        return jnp.sum(weights * (x[1] - y)) / x[0]

    return exact


def later(lower: list[float], upper: list[float]) -> np.ndarray:
    """Points of comparison after `EARLY`."""
    points = np.random.default_rng(31).uniform(lower, upper, (2000, 2))
    points[:, 0] = upper[0] * (EARLY + (1.0 - EARLY) * points[:, 0] / upper[0])
    return points


def _periodic_burgers(mean: float, waves: tuple[tuple[int, float], ...], viscosity: float) -> Posed:
    """On `[-1, 1]`, periodic, from `mean - sum a sin(k pi x)`; exact in the frame that moves with the mean."""

    def potential(y):
        return sum(a * jnp.cos(k * jnp.pi * y) / (k * jnp.pi) for k, a in waves)

    still = cole_hopf(potential, viscosity, -4.0, 4.0)

    def exact(x):
        place = jnp.mod(x[1] - mean * x[0] + 1.0, 2.0) - 1.0
        return mean + still(jnp.stack([x[0], place]))

    start = lambda x: mean - sum(a * jnp.sin(k * jnp.pi * x[1]) for k, a in waves)  # noqa: E731
    box = hx.Box([0.0, -1.0], [1.0, 1.0], names=("t", "x"), periodic="x")
    problem = hx.Problem(box, (burgers(viscosity), fixed("start", start, START)))
    return Posed(problem, ({"u": exact},), points=later([0.0, -1.0], [1.0, 1.0]), satisfies=False)


@enter()
def shock_at_rest() -> Posed:
    """Mean 0, one shock, viscosity 0.004."""
    return _periodic_burgers(0.0, ((1, 1.0),), 0.004)


@enter()
def shock_in_a_wind() -> Posed:
    """Mean 0.9, one shock, viscosity 0.004."""
    return _periodic_burgers(0.9, ((1, 1.0),), 0.004)


@enter()
def shocks_that_merge() -> Posed:
    """Mean 0.4, two shocks of unlike strength that meet, viscosity 0.005."""
    return _periodic_burgers(0.4, ((1, 0.6), (2, 0.9)), 0.005)


@enter()
def rarefaction() -> Posed:
    """Burgers' equation from `(1 + tanh(10 x)) / 2` on `[-1, 2]`, viscosity 2e-3: a fan."""
    viscosity = 2e-3
    potential = lambda y: 0.5 * (y + 0.1 * (jnp.logaddexp(10.0 * y, -10.0 * y) - jnp.log(2.0)))  # noqa: E731
    exact = cole_hopf(potential, viscosity, -4.0, 4.0)
    terms = (
        burgers(viscosity),
        fixed("left", 0.0, LEFT),
        fixed("right", 1.0, END),
        fixed("start", lambda x: 0.5 * (1.0 + jnp.tanh(10.0 * x[1])), START),
    )
    problem = hx.Problem(hx.Box([0.0, -1.0], [1.0, 2.0], names=("t", "x")), terms)
    return Posed(problem, ({"u": exact},), points=later([0.0, -1.0], [1.0, 2.0]), satisfies=False)


@enter()
def travelling_shock() -> Posed:
    """`u = 0.5 - 0.5 tanh((x - 0.5 t - 0.3) / (4 nu))`, viscosity 1e-3, on the unit square."""
    viscosity = 1e-3
    exact = lambda x: 0.5 - 0.5 * jnp.tanh((x[1] - 0.5 * x[0] - 0.3) / (4.0 * viscosity))  # noqa: E731
    terms = (burgers(viscosity), fixed("walls", exact, WALLS), fixed("start", exact, START))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter()
def narrow_pulse() -> Posed:
    """`u_t + 2 u_x = 0`, a pulse of width 0.015 that crosses `[0, 2]`."""
    exact = lambda x: jnp.exp(-0.5 * ((x[1] - 0.2 - 2.0 * x[0]) / 0.015) ** 2)  # noqa: E731
    terms = (
        hx.Residual("transport", lambda u, x: hx.derivative(u, "t")(x) + 2.0 * hx.derivative(u, "x")(x)),
        fixed("inflow", 0.0, LEFT),
        fixed("start", exact, START),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.8, 2.0], names=("t", "x")), terms), ({"u": exact},))


@enter()
def front_of_fisher() -> Posed:
    """`u_t = 1e-3 u_xx + 20 u (1 - u)`: a front of width 0.02 that moves at 0.29."""
    spread, rate = 1e-3, 20.0
    wave = np.sqrt(rate / (6.0 * spread))

    def exact(x):
        return (1.0 + jnp.exp(wave * (x[1] - 0.2) - 5.0 * rate / 6.0 * x[0])) ** -2.0

    def growth(u, x):
        return hx.derivative(u, "t")(x) - spread * hx.derivative(u, "xx")(x) - rate * u(x) * (1.0 - u(x))

    terms = (hx.Residual("growth", growth), fixed("walls", exact, WALLS), fixed("start", exact, START))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter()
def soliton() -> Posed:
    """Korteweg and de Vries, `u_t + 6 u u_x + u_xxx = 0`: a soliton of speed 4 on `[-8, 12]`."""
    exact = lambda x: 2.0 / jnp.cosh(x[1] - 4.0 * x[0]) ** 2  # noqa: E731

    def law(u, x):
        return hx.derivative(u, "t")(x) + 6.0 * u(x) * hx.derivative(u, "x")(x) + hx.derivative(u, "xxx")(x)

    terms = (
        hx.Residual("law", law),
        fixed("walls", exact, WALLS),
        hx.Residual("outflow", lambda u, x, n: hx.derivative(u, "x")(x) - hx.derivative(exact, "x")(x), on=END),
        fixed("start", exact, START),
    )
    return Posed(hx.Problem(hx.Box([0.0, -8.0], [1.0, 12.0], names=("t", "x")), terms), ({"u": exact},))
