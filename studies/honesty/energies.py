"""Energies: unbounded ones, saddles that a symmetric start stays at, and convex ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import hierax as hx
from studies.honesty.battery import LEFT, Posed, Truth, enter, fixed, line
from studies.honesty.curves import Curve, boundary_value


def both_signs(curve: Curve) -> tuple[Truth, Truth]:
    """A solution and its mirror image."""
    return {"u": curve}, {"u": lambda x: -curve(x)}


@enter()
def string_on_an_anti_spring() -> Posed:
    """`u'^2 / 2 - 10 u^2 - u` with zero ends on `[0, 1]`: unbounded below, since `20 > pi^2`."""
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 - 10.0 * u(x) ** 2 - u(x)  # noqa: E731
    return Posed(hx.Problem(line(1.0), (hx.Energy("energy", energy), fixed("ends"))), ())


@enter()
def membrane_that_nothing_holds() -> Posed:
    """`|grad u|^2 / 2 - u` without a condition: unbounded below along the constants."""

    def energy(u, x):
        slope = hx.gradient(u)(x)
        return 0.5 * slope @ slope - u(x)

    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Energy("energy", energy),)), ())


@enter()
def cubic_well() -> Posed:
    """`u'^2 / 2 + u^3` with zero ends on `[0, 3]`: unbounded below, zero is stationary."""
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + u(x) ** 3  # noqa: E731
    return Posed(hx.Problem(line(3.0), (hx.Energy("energy", energy), fixed("ends"))), ())


@enter()
def double_well() -> Posed:
    """`u'^2 / 2 + (u^2 - 2)^2 / 4` with zero ends on `[0, 12]`: zero is a saddle, minima are near +-1.41."""
    curve, _ = boundary_value(
        lambda x, y: np.stack([y[1], y[0] ** 3 - 2.0 * y[0]]),
        lambda a, b: np.array([a[0], b[0]]),
        lambda x: (
            np.sqrt(2.0) * np.stack([np.tanh(x) * np.tanh(12.0 - x), np.cosh(x) ** -2.0 - np.cosh(12.0 - x) ** -2.0])
        ),
        12.0,
    )
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 0.25 * (u(x) ** 2 - 2.0) ** 2  # noqa: E731
    problem = hx.Problem(line(12.0), (hx.Energy("energy", energy), fixed("ends")))
    return Posed(problem, both_signs(curve))


@enter()
def buckled_flagpole() -> Posed:
    """`theta'^2 / 2 + 4 cos(theta)`, clamped below, free above on `[0, 1]`: 4 is above `pi^2 / 4`, upright a saddle."""
    curve, _ = boundary_value(
        lambda x, y: np.stack([y[1], -4.0 * np.sin(y[0])]),
        lambda a, b: np.array([a[0], b[1]]),
        lambda x: np.stack([2.0 * np.sin(np.pi * x / 2.0), np.pi * np.cos(np.pi * x / 2.0)]),
        1.0,
    )
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 4.0 * jnp.cos(u(x))  # noqa: E731
    return Posed(hx.Problem(line(1.0), (hx.Energy("energy", energy), fixed("clamp", 0.0, LEFT))), both_signs(curve))


@enter()
def tilted_well() -> Posed:
    """`u'^2 / 2 + (u^2 - 1)^2 / 4 - 0.3 u` without conditions: two constants are minima, a third is a maximum."""
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 0.25 * (u(x) ** 2 - 1.0) ** 2 - 0.3 * u(x)  # noqa: E731
    low, _, high = np.sort(np.real(np.roots([1.0, 0.0, -1.0, -0.3])))
    truths = ({"u": lambda x: high + 0.0 * x[0]}, {"u": lambda x: low + 0.0 * x[0]})
    return Posed(hx.Problem(line(4.0), (hx.Energy("energy", energy),)), truths)


@enter()
def quartic_flow() -> Posed:
    """`u'^4 / 4 - u` with zero ends on `[-1, 1]` (the p-Laplacian, p = 4): `u = 3/4 (1 - |x|^(4/3))`."""
    energy = lambda u, x: 0.25 * hx.derivative(u, "x")(x) ** 4 - u(x)  # noqa: E731
    problem = hx.Problem(line(1.0, -1.0), (hx.Energy("energy", energy), fixed("ends")))
    return Posed(problem, ({"u": lambda x: 0.75 * (1.0 - jnp.abs(x[0]) ** (4.0 / 3.0))},))


@enter(control=True)
def hanging_rubber() -> Posed:
    """`(F^2 - 1) / 2 - log F - 1.5 u`, `F = 1 + u'`, held at 0: `F - 1 / F = 1.5 (1 - x)`."""

    def energy(u, x):
        stretch = 1.0 + hx.derivative(u, "x")(x)
        return 0.5 * (stretch**2 - 1.0) - jnp.log(stretch) - 1.5 * u(x)

    def antiderivative(s):
        return 0.5 * s**2 + 0.5 * (s * jnp.sqrt(1.0 + s**2) + jnp.arcsinh(s)) - s

    def exact(x):
        # with s = 0.75 (1 - x), u' = s + sqrt(1 + s^2) - 1
        return (antiderivative(jnp.asarray(0.75)) - antiderivative(0.75 * (1.0 - x[0]))) / 0.75 + 0.0 * x[0]

    problem = hx.Problem(line(1.0), (hx.Energy("energy", energy), fixed("held", 0.0, LEFT)))
    return Posed(problem, ({"u": exact},))


@enter()
def slanted_interface() -> Posed:
    """`eps^2 |grad u|^2 / 2 + (1 - u^2)^2 / 4` with `eps = 0.05` on a square: between its ends an interface is free."""
    eps = 0.05
    exact = lambda x: jnp.tanh((0.8 * x[0] + 0.6 * x[1] - 0.7) / (np.sqrt(2.0) * eps))  # noqa: E731
    density = lambda u, x: 0.5 * eps**2 * jnp.sum(hx.gradient(u)(x) ** 2) + 0.25 * (1.0 - u(x) ** 2) ** 2  # noqa: E731
    terms = (hx.Energy("interface", density), fixed("rim", exact))
    return Posed(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), ({"u": exact},))
