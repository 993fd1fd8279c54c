"""Poisson problems with many scales, and with a jump of the coefficient."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.operators import derivative, divergence, gradient, laplacian
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Energy, Residual
from hierax.problems.unknowns import Function


@catalogued("poisson-1d")
def poisson_1d() -> Problem:
    """`-u'' = f` on [0, 1] with `u = 0` at both ends and the solution `sin(2 pi x) + 0.1 sin(50 pi x)`."""
    low, high = 2.0 * np.pi, 50.0 * np.pi

    def exact(x):
        return jnp.sin(low * x[0]) + 0.1 * jnp.sin(high * x[0])

    def interior(u, x):
        source = low**2 * jnp.sin(low * x[0]) + 0.1 * high**2 * jnp.sin(high * x[0])
        return -derivative(u, "xx")(x) - source

    def ends(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0], [1.0]),
        terms=(Residual("interior", interior), Residual("ends", ends, on="boundary")),
        reference=Reference(exact, 1e-14),
        name="poisson-1d",
    )


@catalogued("poisson-2d")
def poisson_2d(scales: int = 4) -> Problem:
    """`-Laplacian u = f` on the unit square, `u = 0` on its boundary, with a solution of many scales.

    The solution is the mean over `i = 1 .. scales` of `sin(2^i pi x) sin(2^i pi y)`.

    Parameters
    ----------
    scales:
        Number of frequencies; the largest is `2^scales / 2` waves a side.
    """
    if scales < 1:
        raise InputError(what=f"{scales} scales", where="poisson_2d(scales)", remedy="give a number from 1 on")
    wave = np.pi * 2.0 ** np.arange(1, scales + 1)

    def modes(x):
        return jnp.sin(wave * x[0]) * jnp.sin(wave * x[1])

    def interior(u, x):
        return -laplacian(u)(x) - jnp.mean(2.0 * wave**2 * modes(x))

    def wall(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=Reference(lambda x: jnp.mean(modes(x)), 1e-14),
        name="poisson-2d",
    )


def _coefficient(x):
    return jnp.where(x[0] < 0.0, 1.0, 0.5)


def _wave(x):
    return jnp.where(x[0] < 0.0, jnp.pi, 2.0 * jnp.pi)


def _jump_solution(x):
    return jnp.sin(_wave(x) * x[0]) * jnp.sin(3.0 * jnp.pi * x[1])


def _jump_source(x):
    """`div(eps grad u*)` on either side of the interface."""
    return -_coefficient(x) * (_wave(x) ** 2 + (3.0 * jnp.pi) ** 2) * _jump_solution(x)


def _zero_on_walls(u: Callable) -> Callable:
    return lambda x: (1.0 - x[0] ** 2) * (1.0 - x[1] ** 2) * u(x)


@catalogued("poisson-jump")
def poisson_jump() -> Problem:
    r"""`div(eps grad u) = f` on [-1, 1]^2, `u = 0` on the boundary, with `eps = 1` for `x < 0` and `1/2` for `x >= 0`.

    Solution (arXiv 2603.04827, section 5.2.1): `sin(pi x) sin(3 pi y)` for `x < 0`, `sin(2 pi x) sin(3 pi y)` for
    `x >= 0`. It is continuous, and so is the flux `eps u_x` (`pi sin(3 pi y)` from both sides), but its slope jumps.

    The statement is the energy: minimise the integral of `eps / 2 |grad u|^2 + f u` over the functions that vanish on
    the boundary. Its minimiser satisfies the equation on either side and the continuity of the flux, so the interface
    needs no term, no points and no weight of its own. The literature writes the strong form on either side with an
    interface term, and gives the network a level-set function as third input so that it can have a kink; both say how
    to solve the problem, so neither is here. The zero boundary values are a constraint and no penalty: an energy does
    not vanish at the solution, so any finite penalty would move its minimiser.

    See `poisson_jump_mixed` for the same problem as least squares.
    """

    def density(u, x):
        slope = gradient(u)(x)
        return 0.5 * _coefficient(x) * jnp.sum(slope**2) + _jump_source(x) * u(x)

    return Problem(
        domain=Box([-1.0, -1.0], [1.0, 1.0]),
        terms=(Energy("energy", density),),
        constraint=_zero_on_walls,
        reference=Reference(_jump_solution, 1e-14),
        name="poisson-jump",
    )


@catalogued("poisson-jump-mixed")
def poisson_jump_mixed() -> Problem:
    r"""The problem of `poisson_jump` as a first-order system for `u` and the flux `q`.

    `q - eps grad u = 0` and `div q - f = 0` inside, `u = 0` on the boundary. The flux of the solution is continuous,
    so again the interface needs no special term, and all residuals vanish at the solution.
    """

    def law(w, x):
        return w.q(x) - _coefficient(x) * gradient(w.u)(x)

    def balance(w, x):
        return divergence(w.q)(x) - _jump_source(x)

    def wall(w, x, normal):
        return w.u(x)

    def flux(x):
        return _coefficient(x) * gradient(_jump_solution)(x)

    return Problem(
        domain=Box([-1.0, -1.0], [1.0, 1.0]),
        terms=(Residual("law", law), Residual("balance", balance), Residual("wall", wall, on="boundary")),
        unknowns={"u": Function(), "q": Function(2)},
        reference=Reference({"u": _jump_solution, "q": flux}, 1e-14),
        name="poisson-jump-mixed",
    )
