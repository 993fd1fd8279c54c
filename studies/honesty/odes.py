"""Ordinary differential equations: stiff systems, layers at the start, chaos for a short time, many periods."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import START, Posed, enter, fixed, line
from studies.honesty.curves import initial_value


@enter()
def robertson() -> Posed:
    """Robertson's reactions on `[0, 40]`; the second species is of size 1e-5."""

    def slope(t, y):
        slow, fast = 0.04 * y[0] - 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
        return np.array([-slow, slow - fast, fast])

    # early times are short: nodes gather at the start
    nodes = np.concatenate([[0.0], np.geomspace(1e-6, 40.0, 6000)])
    a, b, c = initial_value(slope, [1.0, 0.0, 0.0], (0.0, 40.0), nodes)
    slow = lambda w, x: 0.04 * w.a(x) - 1e4 * w.b(x) * w.c(x)  # noqa: E731
    terms = (
        hx.Residual("a", lambda w, x: hx.derivative(w.a, "t")(x) + slow(w, x)),
        hx.Residual("b", lambda w, x: hx.derivative(w.b, "t")(x) - slow(w, x) + 3e7 * w.b(x) ** 2),
        hx.Residual("c", lambda w, x: hx.derivative(w.c, "t")(x) - 3e7 * w.b(x) ** 2),
        fixed("a starts", 1.0, START, lambda w: w.a),
        fixed("b starts", 0.0, START, lambda w: w.b),
        fixed("c starts", 0.0, START, lambda w: w.c),
    )
    unknowns = {name: hx.Function() for name in "abc"}
    return Posed(hx.Problem(line(40.0, name="t"), terms, unknowns=unknowns), ({"a": a, "b": b, "c": c},))


@enter()
def van_der_pol() -> Posed:
    """`y'' = 10 (1 - y^2) y' - y` on `[0, 30]`: slow, then a jump."""
    y, v = initial_value(lambda t, y: np.array([y[1], 10.0 * (1.0 - y[0] ** 2) * y[1] - y[0]]), [2.0, 0.0], (0.0, 30.0))
    terms = (
        hx.Residual("slope", lambda w, x: hx.derivative(w.y, "t")(x) - w.v(x)),
        hx.Residual("force", lambda w, x: hx.derivative(w.v, "t")(x) - 10.0 * (1.0 - w.y(x) ** 2) * w.v(x) + w.y(x)),
        fixed("place", 2.0, START, lambda w: w.y),
        fixed("rest", 0.0, START, lambda w: w.v),
    )
    problem = hx.Problem(line(30.0, name="t"), terms, unknowns={"y": hx.Function(), "v": hx.Function()})
    return Posed(problem, ({"y": y, "v": v},))


@enter()
def lorenz() -> Posed:
    """Lorenz's equations from `(1, 1, 20)` on `[0, 5]`."""

    def slope(t, y):
        return np.array([10.0 * (y[1] - y[0]), y[0] * (28.0 - y[2]) - y[1], y[0] * y[1] - 8.0 / 3.0 * y[2]])

    x, y, z = initial_value(slope, [1.0, 1.0, 20.0], (0.0, 5.0))
    terms = (
        hx.Residual("x", lambda w, t: hx.derivative(w.x, "t")(t) - 10.0 * (w.y(t) - w.x(t))),
        hx.Residual("y", lambda w, t: hx.derivative(w.y, "t")(t) - w.x(t) * (28.0 - w.z(t)) + w.y(t)),
        hx.Residual("z", lambda w, t: hx.derivative(w.z, "t")(t) - w.x(t) * w.y(t) + 8.0 / 3.0 * w.z(t)),
        fixed("x starts", 1.0, START, lambda w: w.x),
        fixed("y starts", 1.0, START, lambda w: w.y),
        fixed("z starts", 20.0, START, lambda w: w.z),
    )
    unknowns = {name: hx.Function() for name in "xyz"}
    return Posed(hx.Problem(line(5.0, name="t"), terms, unknowns=unknowns), ({"x": x, "y": y, "z": z},))


@enter()
def stiff_relaxation() -> Posed:
    """`u' = -1e5 (u - cos(t)) - sin(t)`, `u(0) = 1`: `u = cos(t)`."""
    law = lambda u, x: hx.derivative(u, "t")(x) + 1e5 * (u(x) - jnp.cos(x[0])) + jnp.sin(x[0])  # noqa: E731
    terms = (hx.Residual("law", law), fixed("start", 1.0, START))
    return Posed(hx.Problem(line(6.0, name="t"), terms), ({"u": lambda x: jnp.cos(x[0])},))


@enter()
def layer_at_the_start() -> Posed:
    """`u' = -2000 (u - sin(t))`, `u(0) = 1`: a layer of 5e-4, then `sin(t)` with a small lag."""
    rate = 2000.0
    law = hx.Residual("law", lambda u, x: hx.derivative(u, "t")(x) + rate * (u(x) - jnp.sin(x[0])))

    def exact(x):
        share = rate / (rate**2 + 1.0)
        return (1.0 + share) * jnp.exp(-rate * x[0]) + share * (rate * jnp.sin(x[0]) - jnp.cos(x[0]))

    # a fifth of the points in the layer, which is a thousandth of the time
    points = np.concatenate([np.linspace(0.0, 3e-3, 200), np.linspace(0.0, 3.0, 801)])[:, None]
    problem = hx.Problem(line(3.0, name="t"), (law, fixed("start", 1.0, START)))
    return Posed(problem, ({"u": exact},), points=points)


@enter()
def comet() -> Posed:
    """An orbit of eccentricity 0.6 around the sun in au and years, from its nearest point at 0.4 au, one year."""
    strength = 4.0 * np.pi**2

    def slope(t, y):
        pull = -strength / np.hypot(y[0], y[1]) ** 3
        return np.array([y[2], y[3], pull * y[0], pull * y[1]])

    speed = float(np.sqrt(strength * 1.6 / 0.4))
    a, b, _, _ = initial_value(slope, [0.4, 0.0, 0.0, speed], (0.0, 1.0))
    d = hx.derivative
    cube = lambda w, x: (w.a(x) ** 2 + w.b(x) ** 2) ** 1.5  # noqa: E731
    terms = (
        hx.Residual("pull a", lambda w, x: d(w.a, "tt")(x) + strength * w.a(x) / cube(w, x)),
        hx.Residual("pull b", lambda w, x: d(w.b, "tt")(x) + strength * w.b(x) / cube(w, x)),
        fixed("a starts", 0.4, START, lambda w: w.a),
        fixed("b starts", 0.0, START, lambda w: w.b),
        hx.Residual("speed a", lambda w, x, n: d(w.a, "t")(x), on=START),
        hx.Residual("speed b", lambda w, x, n: d(w.b, "t")(x) - speed, on=START),
    )
    problem = hx.Problem(line(1.0, name="t"), terms, unknowns={"a": hx.Function(), "b": hx.Function()})
    return Posed(problem, ({"a": a, "b": b},))


@enter()
def hundred_periods() -> Posed:
    """`u'' + 169 u = 0` on `[0, 50]`, `u(0) = 1`, `u'(0) = 0`: a hundred periods."""
    terms = (
        hx.Residual("motion", lambda u, x: hx.derivative(u, "tt")(x) + 169.0 * u(x)),
        fixed("start", 1.0, START),
        hx.Residual("rest", lambda u, x, n: hx.derivative(u, "t")(x), on=START),
    )
    return Posed(hx.Problem(line(50.0, name="t"), terms), ({"u": lambda x: jnp.cos(13.0 * x[0])},))


@enter()
def decay_chain() -> Posed:
    """Radon's daughters in seconds: half-lives 183, 1608, 1194 s, from 1e6 atoms of the first."""
    p, q, r = (np.log(2.0) / half for half in (183.0, 1608.0, 1194.0))
    count = 1e6

    def third(x):
        parts = [
            jnp.exp(-p * x[0]) / ((q - p) * (r - p)),
            jnp.exp(-q * x[0]) / ((p - q) * (r - q)),
            jnp.exp(-r * x[0]) / ((p - r) * (q - r)),
        ]
        return count * p * q * sum(parts)

    truth = {
        "a": lambda x: count * jnp.exp(-p * x[0]),
        "b": lambda x: count * p / (q - p) * (jnp.exp(-p * x[0]) - jnp.exp(-q * x[0])),
        "c": third,
    }
    terms = (
        hx.Residual("a", lambda w, x: hx.derivative(w.a, "t")(x) + p * w.a(x)),
        hx.Residual("b", lambda w, x: hx.derivative(w.b, "t")(x) - p * w.a(x) + q * w.b(x)),
        hx.Residual("c", lambda w, x: hx.derivative(w.c, "t")(x) - q * w.b(x) + r * w.c(x)),
        fixed("a starts", count, START, lambda w: w.a),
        fixed("b starts", 0.0, START, lambda w: w.b),
        fixed("c starts", 0.0, START, lambda w: w.c),
    )
    unknowns = {name: hx.Function() for name in "abc"}
    return Posed(hx.Problem(line(3600.0, name="t"), terms, unknowns=unknowns), (truth,))
