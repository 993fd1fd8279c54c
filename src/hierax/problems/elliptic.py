"""Elliptic problems beyond Poisson: a variable anisotropic tensor, and nonlinear reactions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.operators import divergence, gradient, laplacian
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual


@catalogued("anisotropic-diffusion")
def anisotropic_diffusion(contrast: float = 100.0) -> Problem:
    r"""`-div(K grad u) = f` on the unit square, `K(x) = R(a) diag(1, 1 / contrast) R(a)^T` with `a = pi / 4 + x / 2`.

    The direction of fast diffusion turns from 45 to about 74 degrees across the square. The solution is
    `sin(2 pi x + y) sin(3 pi y) + x y / 2`, given on the whole boundary; `f` is computed from it by differentiation.

    Parameters
    ----------
    contrast:
        Ratio of the largest to the smallest diffusion, positive.
    """
    if not (np.isfinite(contrast) and contrast > 0):
        raise InputError(
            what=f"contrast is {contrast}", where="anisotropic_diffusion(contrast)", remedy="give a positive number"
        )

    def exact(x):
        return jnp.sin(2.0 * jnp.pi * x[0] + x[1]) * jnp.sin(3.0 * jnp.pi * x[1]) + 0.5 * x[0] * x[1]

    def flux(u):
        def q(x):
            angle = jnp.pi / 4.0 + x[0] / 2.0
            along = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
            across = jnp.stack([-along[1], along[0]])
            slope = gradient(u)(x)
            return along * (along @ slope) + across * (across @ slope) / contrast

        return q

    def interior(u, x):
        return -divergence(flux(u))(x) + divergence(flux(exact))(x)

    def wall(u, x, normal):
        return u(x) - exact(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=Reference(exact, 1e-14),
        name="anisotropic-diffusion",
    )


@catalogued("semilinear-3d")
def semilinear_3d() -> Problem:
    """`-Laplacian u + u^3 = f` on the unit cube with the oblique wave `sin(pi (2 x + y - 1.5 z) + 0.3)` as solution.

    The solution is given on the whole boundary.
    """
    wave = np.pi * np.array([2.0, 1.0, -1.5])

    def exact(x):
        return jnp.sin(wave @ x + 0.3)

    def interior(u, x):
        known = exact(x)
        return -laplacian(u)(x) + u(x) ** 3 - (np.sum(wave**2) * known + known**3)

    def wall(u, x, normal):
        return u(x) - exact(x)

    return Problem(
        domain=Box([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=Reference(exact, 1e-14),
        name="semilinear-3d",
    )


@catalogued("semilinear-2d")
def semilinear_2d() -> Problem:
    r"""`-Laplacian u + u^2 = f` on the unit square with the solution `-g(x) g(y) / 2`, given on the whole boundary.

    `g(s) = 2 cos(3 pi s / 2 + 2 pi / 5) + 3 / 2 cos(3 pi s - pi / 5)`: the solution that the literature on random
    features uses for Poisson's equation (arXiv 2207.13380). It takes both signs, so the linearised reaction `2 u` does
    too.
    """

    def profile(s):
        return 2.0 * jnp.cos(1.5 * jnp.pi * s + 0.4 * jnp.pi) + 1.5 * jnp.cos(3.0 * jnp.pi * s - 0.2 * jnp.pi)

    def exact(x):
        return -0.5 * jnp.prod(profile(x))

    def interior(u, x):
        return -laplacian(u)(x) + u(x) ** 2 - (-laplacian(exact)(x) + exact(x) ** 2)

    def wall(u, x, normal):
        return u(x) - exact(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=Reference(exact, 1e-14),
        name="semilinear-2d",
    )
