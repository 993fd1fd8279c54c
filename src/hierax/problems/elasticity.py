"""Linear elasticity in the plane."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box, Face
from hierax.problems.operators import divergence, gradient
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual
from hierax.problems.unknowns import Function


def _displacement(x):
    a = 0.1 * jnp.sin(jnp.pi * x[0]) * jnp.cos(jnp.pi * x[1] / 2.0) + 0.05 * x[0] * x[1]
    b = 0.1 * jnp.cos(jnp.pi * x[0] / 2.0) * jnp.sin(jnp.pi * x[1]) + 0.05 * x[1] ** 2
    return jnp.stack([a, b])


@catalogued("elasticity")
def elasticity(lame: float = 1.0, shear: float = 0.5) -> Problem:
    r"""Plane strain on the unit square: `div sigma + b = 0` with `sigma = lame tr(e) I + 2 shear e`, `e = sym grad u`.

    The displacement is `(0.1 sin(pi x) cos(pi y / 2) + 0.05 x y, 0.1 cos(pi x / 2) sin(pi y) + 0.05 y^2)`; the body
    force is computed from it by differentiation. It is prescribed on three faces; on the face `x = 1` the traction
    `sigma n` is.

    Parameters
    ----------
    lame, shear:
        The two Lame parameters, in the units of the stress; `shear > 0` and `lame + shear > 0`. Plane stress is the
        same problem with `lame` replaced by `2 lame shear / (lame + 2 shear)`.
    """
    if not (np.isfinite(lame) and np.isfinite(shear) and shear > 0 and lame + shear > 0):
        raise InputError(
            what=f"lame is {lame}, shear is {shear}",
            where="elasticity(lame, shear)",
            remedy="the material is stable for shear > 0 and lame + shear > 0",
        )

    def stress(u):
        def sigma(x):
            slope = gradient(u)(x)
            return lame * jnp.trace(slope) * jnp.eye(2) + shear * (slope + slope.T)

        return sigma

    def equilibrium(w, x):
        return divergence(stress(w.u))(x) - divergence(stress(_displacement))(x)

    def clamped(w, x, normal):
        return w.u(x) - _displacement(x)

    def loaded(w, x, normal):
        return stress(w.u)(x) @ normal - stress(_displacement)(x) @ normal

    held = (Face("x", "lower"), Face("y", "lower"), Face("y", "upper"))
    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(
            Residual("equilibrium", equilibrium),
            Residual("clamped", clamped, on=held),
            Residual("loaded", loaded, on=Face("x", "upper")),
        ),
        unknowns={"u": Function(2)},
        reference=Reference(_displacement, 1e-14),
        name="elasticity",
    )
