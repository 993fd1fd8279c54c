"""Viscous Burgers equation in one dimension, with the exact Cole-Hopf integral as reference."""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative
from hierax.problems.problem import Problem
from hierax.problems.reference import TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual


def burgers_residual(viscosity: float, where: str):
    """The residual `u_t + u u_x - viscosity u_xx` as a term of a problem in `t` and `x`.

    Raises
    ------
    InputError
        For a viscosity for which the references are not made; `where` names the argument.
    """
    if not (np.isfinite(viscosity) and viscosity >= 0.0005 / np.pi):
        raise InputError(
            what=f"viscosity is {viscosity}", where=where, remedy="give a positive number, at least 0.0005 / pi"
        )

    def interior(u, x):
        return derivative(u, "t")(x) + u(x) * derivative(u, "x")(x) - viscosity * derivative(u, "xx")(x)

    return interior


@catalogued("burgers")
def burgers(viscosity: float = 0.01) -> Problem:
    r"""`u_t + u u_x = viscosity u_xx` for `t` in [0, 1], `x` in [-1, 1]; `u = -sin(pi x)` at the start, 0 at the walls.

    Much of the literature uses `viscosity = 0.01 / pi`, where the wave steepens to a layer of width about 0.01.

    Parameters
    ----------
    viscosity:
        At least `0.0005 / pi`: the reference is made for such values.
    """
    interior = burgers_residual(viscosity, "burgers(viscosity)")

    def start(u, x, normal):
        return u(x) + jnp.sin(jnp.pi * x[1])

    def wall(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0, -1.0], [1.0, 1.0], names=("t", "x")),
        terms=(
            Residual("interior", interior),
            Residual("start", start, on=Face("t", "lower")),
            Residual("wall", wall, on=(Face("x", "lower"), Face("x", "upper"))),
        ),
        reference=TabulatedReference(functools.partial(cole_hopf, viscosity=viscosity), cole_hopf_bound(viscosity)),
        name="burgers",
    )


def cole_hopf(points: np.ndarray, viscosity: float, resolution: float = 1.0) -> np.ndarray:
    r"""Exact solution of Burgers' equation with start `-sin(pi x)`, by quadrature of the Cole-Hopf formula.

    With `y = x - sqrt(t) s` the solution is the mean of `-sin(pi y)` under the density proportional to
    `exp(-cos(pi y) / (2 pi nu) - s^2 / (4 nu))`. The largest exponent of every point is subtracted first, so nothing
    overflows for small `nu`; the trapezoidal rule converges exponentially because the density is entire and decays.

    Parameters
    ----------
    points:
        Rows `(t, x)`, `t` in [0, 1].
    viscosity:
        `nu`.
    resolution:
        Nodes relative to the default number.

    Returns
    -------
    np.ndarray
        Values, shape `(n,)`.
    """
    # beyond `reach` the density is below exp(-40) of its value at s = 0
    reach = np.sqrt(2.0 * (2.0 / np.pi + 80.0 * viscosity))
    narrowest = np.sqrt(2.0 * viscosity / (1.0 + np.pi))  # standard deviation of the narrowest peak, at t = 1
    half = int(np.ceil(resolution * reach * max(2.5 / narrowest, 6.0)))  # 6: the sine itself, where nu is large
    nodes = np.linspace(-reach, reach, 2 * half + 1)
    return mean_of_start(points, viscosity, nodes, lambda y: -np.sin(np.pi * y), lambda y: np.cos(np.pi * y) / np.pi)


def mean_of_start(
    points: np.ndarray,
    viscosity: float,
    nodes: np.ndarray,
    start: Callable[[np.ndarray], np.ndarray],
    primitive: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:
    """Means of `start(y)`, `y = x - sqrt(t) s`, under the density `exp(-primitive(y) / (2 nu) - s^2 / (4 nu))`.

    Parameters
    ----------
    points:
        Rows `(t, x)`.
    viscosity, nodes:
        `nu`; equidistant values of `s`.

    Returns
    -------
    np.ndarray
        Values, shape `(n,)`.
    """
    out = np.empty(len(points))
    block = max(1, 2_000_000 // len(nodes))
    for first in range(0, len(points), block):
        t, x = points[first : first + block].T
        y = x[:, None] - np.sqrt(t)[:, None] * nodes
        exponent = -primitive(y) / (2.0 * viscosity) - nodes**2 / (4.0 * viscosity)
        weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        out[first : first + block] = np.sum(weight * start(y), axis=1) / np.sum(weight, axis=1)
    return out


@functools.lru_cache(maxsize=32)
def cole_hopf_bound(viscosity: float) -> float:
    """Relative L2 bound of `cole_hopf`.

    Ten times the difference that 1.6 times as many nodes make, and the rounding of the exponents.
    """
    t, x = np.meshgrid(np.linspace(0.0, 1.0, 21), np.linspace(-1.0, 1.0, 101), indexing="ij")
    points = np.stack([t.ravel(), x.ravel()], axis=1)
    used, check = cole_hopf(points, viscosity), cole_hopf(points, viscosity, resolution=1.6)
    rounding = np.finfo(float).eps * (4.0 + 1.0 / (np.pi * viscosity))
    return float(10.0 * np.linalg.norm(used - check) / np.linalg.norm(check) + rounding)
