"""Values that are given: inside of the domain, as arrays along a boundary, exactly, or one alone."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, START, WALLS, Posed, at, enter, fixed, line, sloped


@enter()
def swing_from_the_inside() -> Posed:
    """`y' = v`, `v' = -5 y` on `[-4, 4]` with `y(1) = 0.7`, `v(1) = -1`, exactly."""
    rate = np.sqrt(5.0)
    truth = {
        "y": lambda x: 0.7 * jnp.cos(rate * (x[0] - 1.0)) - jnp.sin(rate * (x[0] - 1.0)) / rate,
        "v": lambda x: -0.7 * rate * jnp.sin(rate * (x[0] - 1.0)) - jnp.cos(rate * (x[0] - 1.0)),
    }
    terms = (
        hx.Residual("slope", lambda w, x: hx.derivative(w.y, "x")(x) - w.v(x)),
        hx.Residual("force", lambda w, x: hx.derivative(w.v, "x")(x) + 5.0 * w.y(x)),
        hx.Data("y", np.array([[1.0]]), np.array([0.7]), noise=0.0),
        hx.Data("v", np.array([[1.0]]), np.array([-1.0]), noise=0.0),
    )
    problem = hx.Problem(line(4.0, -4.0), terms, unknowns={"y": hx.Function(), "v": hx.Function()})
    return Posed(problem, (truth,))


def _square_edge(count: int) -> np.ndarray:
    """Points around the unit square."""
    s = (np.arange(count) + 0.5) / count
    zero, one = np.zeros(count), np.ones(count)
    sides = [(s, zero), (one, s), (s, one), (zero, s)]
    return np.concatenate([np.stack(side, axis=1) for side in sides])


@enter()
def square_with_measured_edge() -> Posed:
    """Laplace's equation; the boundary values of `exp(1.5 x) cos(1.5 y)` are 240 exact numbers."""
    exact = lambda x: jnp.exp(1.5 * x[0]) * jnp.cos(1.5 * x[1])  # noqa: E731
    points = _square_edge(60)
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        hx.Data("edge", points, at(exact, points), noise=0.0),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},))


@enter()
def square_with_measured_edge_without_noise_given() -> Posed:
    """The same for `x^2 - y^2 + 3`, and nothing is said about noise."""
    exact = lambda x: x[0] ** 2 - x[1] ** 2 + 3.0  # noqa: E731
    points = _square_edge(60)
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), hx.Data("edge", points, at(exact, points)))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},))


@enter()
def one_thermocouple() -> Posed:
    """A plate of 0.5 m x 0.4 m with all fluxes known, 20 W/mK, 6 kW/m^3, and one reading of 410 K."""
    k, source, inflow = 20.0, 6e3, 1e3
    terms = (
        hx.Residual("conduction", lambda T, x: k * hx.laplacian(T)(x) + source),
        hx.Residual("heated", lambda T, x, n: k * n @ hx.gradient(T)(x) - inflow, on=LEFT),
        hx.Residual("cooled", lambda T, x, n: k * n @ hx.gradient(T)(x) + inflow + source * 0.5, on=END),
        sloped("insulated", 0.0, (hx.Face("y", "lower"), hx.Face("y", "upper"))),
        hx.Data("reading", np.array([[0.15, 0.3]]), np.array([410.0])),
    )
    shape = lambda s: -inflow / k * s - source / (2 * k) * s**2  # noqa: E731
    exact = lambda x: 410.0 + shape(x[0]) - shape(0.15)  # noqa: E731
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.5, 0.4]), terms), ({"u": exact},), centred=True)


@enter()
def beam_through_four_points() -> Posed:
    """`w'''' = 24` through exact values at four points inside: a quartic."""
    exact = lambda x: x[0] ** 4 - 2.0 * x[0] ** 2 + 0.3 * x[0] + 0.1  # noqa: E731
    points = np.array([[0.1], [0.35], [0.6], [0.9]])
    terms = (
        hx.Residual("bending", lambda w, x: hx.derivative(w, "xxxx")(x) - 24.0),
        hx.Data("supports", points, at(exact, points), noise=0.0),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": exact},))


@enter()
def measured_start() -> Posed:
    """The heat equation whose start is an array of 60 exact values."""
    exact = lambda x: jnp.exp(-0.1 * (2 * jnp.pi) ** 2 * x[0]) * jnp.sin(2 * jnp.pi * x[1])  # noqa: E731
    points = np.stack([np.zeros(60), np.linspace(0.0, 1.0, 60)], axis=1)
    terms = (
        hx.Residual("heat", lambda u, x: hx.derivative(u, "t")(x) - 0.1 * hx.derivative(u, "xx")(x)),
        fixed("walls", 0.0, WALLS),
        hx.Data("start", points, at(exact, points), noise=0.0),
    )
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [0.5, 1.0], names=("t", "x")), terms), ({"u": exact},))


@enter()
def disc_with_measured_rim() -> Posed:
    """Laplace's equation on a disc of points, with 200 values of `r^3 cos(3 theta) + 1` on the rim."""
    exact = lambda x: x[0] ** 3 - 3.0 * x[0] * x[1] ** 2 + 1.0  # noqa: E731
    rng = np.random.default_rng(2)
    angle, radius = rng.uniform(0.0, 2 * np.pi, 3000), np.sqrt(rng.uniform(0.0, 1.0, 3000))
    inside = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    around = 2 * np.pi * np.arange(200) / 200
    rim = np.stack([np.cos(around), np.sin(around)], axis=1)
    cloud = hx.PointCloud(inside[:2000], np.full(2000, np.pi / 2000), {"rim": hx.Boundary(rim, rim)})
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        hx.Data("rim values", rim, at(exact, rim), noise=0.0),
    )
    return Posed(hx.Problem(cloud, terms), ({"u": exact},), points=inside[2000:])


@enter()
def hidden_heating() -> Posed:
    """`u_t = u_xx + s(t) sin(pi x)` from 500 values with noise 1e-3: `s` depends on time alone and is unknown."""
    size, rate = lambda t: t + 0.3 * jnp.sin(5.0 * t), np.pi**2
    exact = lambda x: size(x[0]) * jnp.sin(jnp.pi * x[1])  # noqa: E731
    hidden = lambda x: 1.0 + 1.5 * jnp.cos(5.0 * x[0]) + rate * size(x[0])  # noqa: E731
    rng = np.random.default_rng(8)
    points = rng.uniform(0.0, 1.0, (500, 2))
    values = at(exact, points) + 1e-3 * rng.normal(size=500)

    def heat(w, x):
        return hx.derivative(w.u, "t")(x) - hx.derivative(w.u, "xx")(x) - w.s(x) * jnp.sin(jnp.pi * x[1])

    terms = (
        hx.Residual("heat", heat),
        hx.Residual("in time alone", lambda w, x: hx.derivative(w.s, "x")(x)),
        fixed("walls", 0.0, WALLS, lambda w: w.u),
        fixed("start", 0.0, START, lambda w: w.u),
        hx.Data("u", points, values, noise=1e-3),
    )
    box = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))
    problem = hx.Problem(box, terms, unknowns={"u": hx.Function(), "s": hx.Function()})
    return Posed(problem, ({"u": exact, "s": hidden},), tolerances={"s": 0.05})
