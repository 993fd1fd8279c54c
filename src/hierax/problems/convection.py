"""Convection with little diffusion: a steady wind across the axes, with layers at the walls that it blows against."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.operators import gradient, laplacian
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual


@catalogued("rotated-wind")
def rotated_wind(diffusion: float = 0.01, angle: float = 0.6) -> Problem:
    r"""`w . grad u - diffusion Laplacian u = f` on the unit square, 0 on its walls, `w = (cos angle, sin angle)`.

    The solution is `X_1(x) X_2(y)` with

    .. math:: X_k(s) = s - \frac{e^{-w_k (1 - s) / d} - e^{-w_k / d}}{1 - e^{-w_k / d}},

    which solves :math:`w_k X_k' - d X_k'' = w_k` and vanishes at both ends; so :math:`f = w_1 X_2 + w_2 X_1`. Its
    layers at the walls `x = 1` and `y = 1` are about :math:`d / w_k` wide.

    Parameters
    ----------
    diffusion:
        `d`, positive.
    angle:
        Of the wind against the first axis in radians, between 0 and pi / 2.
    """
    if not (np.isfinite(diffusion) and diffusion > 0):
        raise InputError(
            what=f"diffusion is {diffusion}", where="rotated_wind(diffusion)", remedy="give a positive number"
        )
    if not 0.0 < angle < np.pi / 2:
        raise InputError(
            what=f"angle is {angle}", where="rotated_wind(angle)", remedy="give an angle between 0 and pi / 2"
        )
    wind = np.array([np.cos(angle), np.sin(angle)])

    def factors(x):
        decay = jnp.exp(-wind * (1.0 - x) / diffusion)
        rest = np.exp(-wind / diffusion)
        return x - (decay - rest) / (1.0 - rest)

    def interior(u, x):
        along = factors(x)
        source = wind[0] * along[1] + wind[1] * along[0]
        return wind @ gradient(u)(x) - diffusion * laplacian(u)(x) - source

    def wall(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=Reference(lambda x: jnp.prod(factors(x)), 1e-14),
        name="rotated-wind",
    )
