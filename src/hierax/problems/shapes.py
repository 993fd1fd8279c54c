"""Problems on shapes: a plate with a hole, disks and balls with holes, and a corner into the body."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.geometry import Disk, Polygon, Rectangle, Sphere
from hierax.problems.conditions import Elastic, dirichlet, symmetry, traction
from hierax.problems.operators import gradient, laplacian
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Energy, Residual
from hierax.problems.unknowns import Function

POISSON = 0.3
"""Poisson's ratio of the plate."""


@catalogued("plate-hole")
def plate_hole(radius: float = 0.2) -> Problem:
    r"""A quarter of a thin plate `[0, 1]^2` with a round hole at the origin, in tension along `x`.

    Young's modulus and the tension far away are one, so displacements are in units of the edge. The exact solution is
    that of the infinite plate (Kirsch); its stresses act on the faces `x = 1` and `y = 1`. The stress on the rim at
    `(0, radius)` is three times that far away.

    Parameters
    ----------
    radius:
        Of the hole, in units of the edge, between 0 and 1.
    """
    material = Elastic(1.0, POISSON, plane_stress=True)

    def exact(x: Any) -> Float[Array, "2"]:
        bulk = (3.0 - POISSON) / (1.0 + POISSON)
        r, t = jnp.sqrt(x[0] ** 2 + x[1] ** 2), jnp.arctan2(x[1], x[0])
        q = radius / r
        along = (bulk + 1.0) / q * jnp.cos(t) + 2.0 * q * ((1.0 + bulk) * jnp.cos(t) + jnp.cos(3.0 * t))
        across = (bulk - 3.0) / q * jnp.sin(t) + 2.0 * q * ((1.0 - bulk) * jnp.sin(t) + jnp.sin(3.0 * t))
        both = jnp.stack([along - 2.0 * q**3 * jnp.cos(3.0 * t), across - 2.0 * q**3 * jnp.sin(3.0 * t)])
        return radius / (8.0 * material.shear) * both

    def loaded(w: Any, x: Any, normal: Any) -> Any:
        return (material.stress(w.u)(x) - material.stress(exact)(x)) @ normal

    return Problem(
        domain=Rectangle((0.0, 0.0), (1.0, 1.0)) - Disk((0.0, 0.0), radius, name="hole"),
        terms=(
            Residual("balance", lambda w, x: material.balance(w.u)(x)),
            symmetry(("left", "bottom"), material.stress, unknown="u", name="symmetry"),
            traction("hole", material.stress, unknown="u", name="free"),
            Residual("loaded", loaded, on=("right", "top")),
        ),
        unknowns={"u": Function(2)},
        reference=Reference(exact, 1e-14),
        name="plate-hole",
    )


@catalogued("disk-hole")
def disk_hole(radius: float = 0.25, x: float = 0.3, y: float = 0.1) -> Problem:
    """`-Lap u = f` on the unit disk without a disk at `(x, y)`, with `u = exp(x) sin 2y + cos 3xy` on both rims.

    `f` follows from that solution by differentiation.
    """
    body = Disk((0.0, 0.0), 1.0, name="rim") - Disk((x, y), radius, name="hole")
    return _poisson(body, lambda z: jnp.exp(z[0]) * jnp.sin(2.0 * z[1]) + jnp.cos(3.0 * z[0] * z[1]), "disk-hole")


@catalogued("ball-hole")
def ball_hole(radius: float = 0.4) -> Problem:
    """`-Lap u = f` in the unit ball without a ball at `(0.2, 0.1, 0)`, with `u = exp(x) sin 2y + cos 3xz` on both.

    `f` follows from that solution by differentiation.
    """
    body = Sphere((0.0, 0.0, 0.0), 1.0, name="rim") - Sphere((0.2, 0.1, 0.0), radius, name="hole")
    return _poisson(body, lambda z: jnp.exp(z[0]) * jnp.sin(2.0 * z[1]) + jnp.cos(3.0 * z[0] * z[2]), "ball-hole")


@catalogued("sharp-corner")
def sharp_corner() -> Problem:
    r"""Laplace's equation, as the minimum of its energy, on an L-shape: :math:`u = r^{2/3} \sin(2 \varphi / 3)`.

    The gradient of the solution is infinite at the corner into the body, which is the origin.
    """

    def exact(x: Any) -> Array:
        angle = jnp.arctan2(x[1], x[0])
        angle = jnp.where(angle < -1e-9, angle + 2.0 * jnp.pi, angle)
        return jnp.maximum(x[0] ** 2 + x[1] ** 2, 1e-300) ** (1.0 / 3.0) * jnp.sin(2.0 * angle / 3.0)

    return Problem(
        domain=Polygon([[0, 0], [1, 0], [1, 1], [-1, 1], [-1, -1], [0, -1]], name="wall"),
        terms=(
            Energy("laplace", lambda u, x: 0.5 * jnp.sum(gradient(u)(x) ** 2)),
            dirichlet("wall", exact, name="wall"),
        ),
        reference=Reference(exact, 1e-14),
        name="sharp-corner",
    )


def _poisson(body: Any, exact: Any, name: str) -> Problem:
    def equation(u: Any, x: Any) -> Any:
        return laplacian(u)(x) - jnp.trace(jax.hessian(exact)(x))

    terms = (Residual("poisson", equation), dirichlet("boundary", exact, name="wall"))
    return Problem(body, terms, reference=Reference(exact, 1e-14), name=name)
