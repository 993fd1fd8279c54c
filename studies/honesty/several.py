"""Equations with several solutions, any of which is right, and one that has none."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

import hierax as hx
from studies.honesty.battery import END, LEFT, Posed, Truth, enter, fixed, line, sloped
from studies.honesty.curves import boundary_value
from studies.honesty.energies import both_signs


def _bratu(strength: float) -> hx.Problem:
    """`u'' + strength exp(u) = 0` with zero ends."""
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + strength * jnp.exp(u(x))),
        fixed("ends"),
    )
    return hx.Problem(line(1.0), terms)


def _bratu_solution(strength: float, low: float, high: float) -> Truth:
    """By the root of `theta = sqrt(2 strength) cosh(theta / 4)` between `low` and `high`."""
    theta: Any = brentq(lambda s: s - np.sqrt(2.0 * strength) * np.cosh(s / 4.0), low, high, xtol=1e-14)
    return {"u": lambda x: -2.0 * jnp.log(jnp.cosh((x[0] - 0.5) * theta / 2.0) / np.cosh(theta / 4.0))}


@enter()
def bratu() -> Posed:
    """`u'' + 2.5 e^u = 0`: a lower and an upper solution."""
    return Posed(_bratu(2.5), (_bratu_solution(2.5, 0.0, 4.79), _bratu_solution(2.5, 4.81, 20.0)))


@enter()
def bratu_near_its_end() -> Posed:
    """`u'' + 3.5 e^u = 0`: the two solutions are close."""
    return Posed(_bratu(3.5), (_bratu_solution(3.5, 0.0, 4.7987), _bratu_solution(3.5, 4.7987, 20.0)))


@enter(quick=True)
def bratu_beyond_its_end() -> Posed:
    """`u'' + 4.2 e^u = 0`: no solution."""
    return Posed(_bratu(4.2), ())


@enter()
def buckled_residual() -> Posed:
    """`theta'' + 5 sin(theta) = 0`, clamped and free: upright, or bent either way."""
    bent, _ = boundary_value(
        lambda x, y: np.stack([y[1], -5.0 * np.sin(y[0])]),
        lambda a, b: np.array([a[0], b[1]]),
        lambda x: np.stack([2.0 * np.sin(np.pi * x / 2.0), np.pi * np.cos(np.pi * x / 2.0)]),
        1.0,
    )
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 5.0 * jnp.sin(u(x))),
        fixed("clamp", 0.0, LEFT),
        sloped("free", 0.0, END),
    )
    return Posed(hx.Problem(line(1.0), terms), (*both_signs(bent), {"u": lambda x: 0.0 * x[0]}))


@enter()
def eikonal() -> Posed:
    """`u'^2 = 1` with zero ends: the distance to them, or its negative; smooth answers are wrong."""
    terms = (hx.Residual("slope", lambda u, x: hx.derivative(u, "x")(x) ** 2 - 1.0), fixed("ends"))
    return Posed(hx.Problem(line(1.0), terms), both_signs(lambda x: jnp.minimum(x[0], 1.0 - x[0])))


@enter()
def phase_boundary() -> Posed:
    """`0.04 u'' + u - u^3 = 0` on `[-1, 1]` with the values of `tanh(x / (0.2 sqrt(2)))` at the ends."""
    exact = lambda x: jnp.tanh(x[0] / (0.2 * np.sqrt(2.0)))  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: 0.04 * hx.derivative(u, "xx")(x) + u(x) - u(x) ** 3),
        fixed("ends", exact),
    )
    return Posed(hx.Problem(line(1.0, -1.0), terms), ({"u": exact},))
