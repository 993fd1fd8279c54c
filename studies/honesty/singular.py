"""Solutions with a singularity: corners, a change of the condition, roots and logarithms."""

from __future__ import annotations

import itertools

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import END, LEFT, Posed, enter, fixed, line


def _corner(x):
    """`r^(2/3) sin(2 theta / 3)`, the angle from the upper side of the missing quarter."""
    angle = jnp.mod(jnp.arctan2(x[1], x[0]), 2.0 * jnp.pi)
    return jnp.maximum(x[0] ** 2 + x[1] ** 2, 1e-30) ** (1.0 / 3.0) * jnp.sin(2.0 / 3.0 * angle)


@enter()
def corner_of_a_room() -> Posed:
    """Laplace's equation on an L of points, `[-1, 1]^2` without its lower right quarter, `r^(2/3)` at the corner."""
    rng = np.random.default_rng(41)
    square = rng.uniform(-1.0, 1.0, (9000, 2))
    inside = square[(square[:, 0] < 0.0) | (square[:, 1] > 0.0)]
    s = (np.arange(100) + 0.5) / 100
    corners = np.array([[0, 0], [1, 0], [1, 1], [-1, 1], [-1, -1], [0, -1], [0, 0]], dtype=float)
    points, normals, weights = [], [], []
    for a, b in itertools.pairwise(corners):
        length = float(np.linalg.norm(b - a))
        points.append(a + s[:, None] * (b - a))
        normals.append(np.tile(np.array([b[1] - a[1], a[0] - b[0]]) / length, (100, 1)))
        weights.append(np.full(100, length / 100))
    edge = hx.Boundary(*map(np.concatenate, (points, normals, weights)))
    cloud = hx.PointCloud(inside[:4000], np.full(4000, 3.0 / 4000), {"edge": edge})
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), fixed("edge", _corner, "edge"))
    return Posed(hx.Problem(cloud, terms), ({"u": _corner},), points=inside[4000:6000])


@enter()
def crack() -> Posed:
    """`r^(1/2) cos(theta / 2)` on `[-1, 1] x [0, 1]`: held on the left half of the lower side, free on the right."""
    exact = lambda x: jnp.sqrt(jnp.maximum(0.5 * (jnp.hypot(x[0], x[1] + 1e-30) + x[0]), 0.0))  # noqa: E731
    floor = hx.Face("y", "lower")
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        hx.Residual("floor", lambda u, x, n: jnp.where(x[0] < 0.0, u(x), hx.derivative(u, "y")(x)), on=floor),
        fixed("sides", exact, (LEFT, END, hx.Face("y", "upper"))),
    )
    # on the cut itself the formula has no derivative: checked by hand
    return Posed(hx.Problem(hx.Box([-1.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},), satisfies=False)


@enter()
def root_at_the_start() -> Posed:
    """`2 sqrt(x) u' = 1`, `u(0) = 0`: `u = sqrt(x)`."""
    terms = (
        hx.Residual("slope", lambda u, x: 2.0 * jnp.sqrt(x[0]) * hx.derivative(u, "x")(x) - 1.0),
        fixed("start", 0.0, LEFT),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": lambda x: jnp.sqrt(x[0])},))


@enter()
def wire_in_a_tube() -> Posed:
    """`(r u')' = 0` from a wire of radius 1e-4 to a tube of radius 1: `u = log(r) / log(1e-4)`."""
    flux = lambda u: lambda x: x[0] * hx.gradient(u)(x)  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.divergence(flux(u))(x)),
        fixed("wire", 1.0, LEFT),
        fixed("tube", 0.0, END),
    )
    problem = hx.Problem(line(1.0, 1e-4), terms)
    # evenly in the logarithm: evenly in r nearly all points are far from the wire
    points = np.geomspace(1e-4, 1.0, 1000)[:, None]
    return Posed(problem, ({"u": lambda x: jnp.log(x[0]) / np.log(1e-4)},), points=points)


@enter()
def hot_lid() -> Posed:
    """Laplace's equation on the unit square, 1 on the upper side and 0 on the others: jumps in two corners."""
    wave = np.pi * np.arange(1, 2000, 2)

    def exact(x):
        rise = (jnp.exp(wave * (x[1] - 1.0)) - jnp.exp(-wave * (x[1] + 1.0))) / (1.0 - jnp.exp(-2.0 * wave))
        return jnp.sum(4.0 / wave * rise * jnp.sin(wave * x[0]))

    lid = hx.Face("y", "upper")
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        fixed("lid", 1.0, lid),
        fixed("cold", 0.0, (LEFT, END, hx.Face("y", "lower"))),
    )
    # the series does not converge on the lid itself
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},), satisfies=False)


@enter()
def steep_power() -> Posed:
    """`x u' = 0.1 u`, `u(1) = 1` on `[0, 1]`: `u = x^0.1`."""
    terms = (
        hx.Residual("law", lambda u, x: x[0] * hx.derivative(u, "x")(x) - 0.1 * u(x)),
        fixed("end", 1.0, END),
    )
    return Posed(hx.Problem(line(1.0), terms), ({"u": lambda x: x[0] ** 0.1},))
