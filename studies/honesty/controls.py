"""Easy problems, which must be right with exit code 0: otherwise refusing everything would pay."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, enter, fixed, line, sloped, table


@enter(control=True, quick=True)
def loaded_string() -> Posed:
    """`u'' = -7 cos(2 x)` with `u(0) = 1`, `u(3) = -2`."""
    rate = (-3.0 - 7.0 / 4.0 * (np.cos(6.0) - 1.0)) / 3.0

    def exact(x):
        return 1.0 + 7.0 / 4.0 * (jnp.cos(2.0 * x[0]) - 1.0) + rate * x[0]

    terms = (
        hx.Residual("balance", lambda u, x: hx.laplacian(u)(x) + 7.0 * jnp.cos(2.0 * x[0])),
        fixed("left", 1.0, LEFT),
        fixed("right", -2.0, END),
    )
    return Posed(hx.Problem(line(3.0), terms), ({"u": exact},))


@enter(control=True)
def membrane() -> Posed:
    """Poisson's equation on `[0, 2] x [0, 1]`, zero on the boundary."""
    terms = (
        hx.Residual(
            "balance", lambda u, x: hx.laplacian(u)(x) + 5.0 * jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])
        ),
        fixed("edge"),
    )
    exact = lambda x: jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1]) / jnp.pi**2  # noqa: E731
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [2.0, 1.0]), terms), ({"u": exact},))


@enter(control=True)
def cooling() -> Posed:
    """`u' = -0.7 (u - 4)`, `u(0) = 11`."""
    terms = (
        hx.Residual("law", lambda u, x: hx.derivative(u, "t")(x) + 0.7 * (u(x) - 4.0)),
        fixed("start", 11.0, START),
    )
    return Posed(hx.Problem(line(5.0, name="t"), terms), ({"u": lambda x: 4.0 + 7.0 * jnp.exp(-0.7 * x[0])},))


@enter(control=True)
def damped_oscillator() -> Posed:
    """`y' = v`, `v' = -0.4 v - 9 y`, `y(0) = 2`, `v(0) = 0`."""
    rate = np.sqrt(9.0 - 0.04)

    def y(x):
        return 2.0 * jnp.exp(-0.2 * x[0]) * (jnp.cos(rate * x[0]) + 0.2 / rate * jnp.sin(rate * x[0]))

    def v(x):
        return -18.0 / rate * jnp.exp(-0.2 * x[0]) * jnp.sin(rate * x[0])

    terms = (
        hx.Residual("slope", lambda w, x: hx.derivative(w.y, "t")(x) - w.v(x)),
        hx.Residual("force", lambda w, x: hx.derivative(w.v, "t")(x) + 0.4 * w.v(x) + 9.0 * w.y(x)),
        fixed("place", 2.0, START, lambda w: w.y),
        fixed("rest", 0.0, START, lambda w: w.v),
    )
    unknowns = {"y": hx.Function(), "v": hx.Function()}
    return Posed(hx.Problem(line(6.0, name="t"), terms, unknowns=unknowns), ({"y": y, "v": v},))


@enter(control=True)
def warm_rod() -> Posed:
    """`u_t = 0.2 u_xx` with zero walls and two modes."""

    def exact(x):
        slow = jnp.exp(-0.2 * jnp.pi**2 * x[0]) * jnp.sin(jnp.pi * x[1])
        return slow - 0.5 * jnp.exp(-0.2 * 4 * jnp.pi**2 * x[0]) * jnp.sin(2 * jnp.pi * x[1])

    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - 0.2 * hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: jnp.sin(jnp.pi * x[1]) - 0.5 * jnp.sin(2 * jnp.pi * x[1]), START),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.8, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter(control=True)
def cubic_reaction() -> Posed:
    """`u'' = 2 u^3` with `u = 1 / (x + 2)`."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) - 2.0 * u(x) ** 3),
        fixed("left", 0.5, LEFT),
        fixed("right", 0.2, END),
    )
    return Posed(hx.Problem(line(3.0), terms), ({"u": lambda x: 1.0 / (x[0] + 2.0)},))


@enter(control=True, quick=True)
def harmonic_polynomial() -> Posed:
    """Laplace's equation with the boundary values of `x^3 - 3 x y^2 + y`."""
    exact = lambda x: x[0] ** 3 - 3.0 * x[0] * x[1] ** 2 + x[1]  # noqa: E731
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), fixed("edge", exact))
    return Posed(hx.Problem(hx.Box([-1.0, 0.0], [1.0, 1.5]), terms), ({"u": exact},))


@enter(control=True)
def carried_wave() -> Posed:
    """`u_t + 0.6 u_x = 0` with what flows in given."""
    exact = lambda x: jnp.sin(4.0 * (x[1] - 0.6 * x[0]))  # noqa: E731
    terms = (
        hx.Residual("transport", lambda u, x: hx.derivative(u, "t")(x) + 0.6 * hx.derivative(u, "x")(x)),
        fixed("inflow", exact, LEFT),
        fixed("start", exact, START),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter(control=True)
def standing_wave() -> Posed:
    """`u_tt = 4 u_xx` between fixed ends, at rest in the beginning."""
    terms = (
        hx.Residual("wave", lambda u, x: hx.derivative(u, "tt")(x) - 4.0 * hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        fixed("start", lambda x: 3.0 * jnp.sin(jnp.pi * x[1]), START),
        sloped("rest", 0.0, START),
    )
    exact = lambda x: 3.0 * jnp.sin(jnp.pi * x[1]) * jnp.cos(2 * jnp.pi * x[0])  # noqa: E731
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter(control=True)
def logistic() -> Posed:
    """`u' = 1.3 u (1 - u / 5)`, `u(0) = 0.4`."""
    terms = (
        hx.Residual("growth", lambda u, x: hx.derivative(u, "t")(x) - 1.3 * u(x) * (1.0 - u(x) / 5.0)),
        fixed("start", 0.4, START),
    )
    exact = lambda x: 5.0 / (1.0 + (5.0 / 0.4 - 1.0) * jnp.exp(-1.3 * x[0]))  # noqa: E731
    return Posed(hx.Problem(line(6.0, name="t"), terms), ({"u": exact},))


@enter(control=True)
def overdetermined_and_consistent() -> Posed:
    """`u'' = -3` with zero ends, and the value in the middle besides."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 3.0),
        fixed("ends"),
        hx.Data("middle", np.array([[1.0]]), np.array([1.5])),
    )
    return Posed(hx.Problem(line(2.0), terms), ({"u": lambda x: 1.5 * x[0] * (2.0 - x[0])},))


@enter(control=True)
def decay_rate() -> Posed:
    """`u' = -k u` from 40 values without noise: `k = 1.7`."""
    times = np.linspace(0.0, 2.0, 40)
    terms = (
        hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
        hx.Data("u", times[:, None], 3.0 * np.exp(-1.7 * times)),
    )
    problem = hx.Problem(line(2.0, name="t"), terms, unknowns={"u": hx.Function(), "k": hx.Constant(0.5)})
    return Posed(problem, ({"u": lambda x: 3.0 * jnp.exp(-1.7 * x[0]), "k": 1.7},))


@enter(control=True, quick=True)
def smooth_curve() -> Posed:
    """A fit of 150 exact values of a smooth curve."""
    x = np.random.default_rng(3).uniform(-1.0, 2.0, 150)
    problem = table({"x": x, "y": np.exp(-x) * np.sin(3.0 * x)}, ("y",))
    return Posed(problem, ({"y": lambda p: jnp.exp(-p[0]) * jnp.sin(3.0 * p[0])},), satisfies=False)


@enter(control=True)
def smooth_surface() -> Posed:
    """A fit of 600 exact values of a smooth function of two inputs."""
    points = np.random.default_rng(4).uniform(0.0, 1.0, (600, 2))
    exact = lambda p: jnp.cos(2.0 * p[0] + p[1]) + p[0] * p[1] ** 2  # noqa: E731
    values = np.cos(2.0 * points[:, 0] + points[:, 1]) + points[:, 0] * points[:, 1] ** 2
    problem = table({"a": points[:, 0], "b": points[:, 1], "y": values}, ("y",))
    return Posed(problem, ({"y": exact},), satisfies=False)


@enter(control=True)
def convex_energy() -> Posed:
    """The minimiser of `|grad u|^2 / 2 - f u` with zero boundary values."""

    def density(u, x):
        slope = hx.gradient(u)(x)
        load = 10.0 * jnp.pi**2 * jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])
        return 0.5 * slope @ slope - load * u(x)

    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Energy("energy", density), fixed("edge")))
    return Posed(problem, ({"u": lambda x: 2.0 * jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])},))
