"""Problems with unknown coefficients and measurements of the state."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative, divergence, gradient
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.regression import samples
from hierax.problems.terms import Data, Residual
from hierax.problems.unknowns import Constant, Function


@catalogued("inverse-diffusion")
def inverse_diffusion(points: int = 200, noise: float = 1e-3, seed: int = 0) -> Problem:
    r"""Find `u` and `kappa` in `-(kappa u')' = f` on [0, 1] from measurements of `u`.

    `u = x + 0.1 sin(2 pi x)`, `kappa = 1 + 0.5 sin(3 pi x)`. The values of `u` at the ends and the flux `kappa u'`
    at `x = 0` are known: without the flux, `kappa` would be free up to a multiple of `1 / u'`.

    Parameters
    ----------
    points:
        Number of measurements, at uniformly random places.
    noise:
        Standard deviation of the normal noise of the measurements.
    seed:
        Of places and noise.
    """

    def state(x):
        return x[0] + 0.1 * jnp.sin(2.0 * jnp.pi * x[0])

    def conductivity(x):
        return 1.0 + 0.5 * jnp.sin(3.0 * jnp.pi * x[0])

    def flux(u, kappa):
        return lambda x: kappa(x) * derivative(u, "x")(x)

    def interior(w, x):
        return -derivative(flux(w.u, w.kappa), "x")(x) + derivative(flux(state, conductivity), "x")(x)

    def ends(w, x, normal):
        return w.u(x) - state(x)

    def inflow(w, x, normal):
        return flux(w.u, w.kappa)(x) - flux(state, conductivity)(x)

    box = Box([0.0], [1.0])
    x, values = samples(state, box, points, noise, seed, "inverse-diffusion")
    return Problem(
        domain=box,
        terms=(
            Residual("interior", interior),
            Residual("ends", ends, on="boundary"),
            Residual("inflow", inflow, on=Face("x", "lower")),
            Data("u", x, values, noise=noise or None),
        ),
        unknowns={"u": Function(), "kappa": Function(bounds=(0.0, None))},
        reference=Reference({"u": state, "kappa": conductivity}, 1e-14),
        name="inverse-diffusion",
    )


@catalogued("inverse-diffusion-2d")
def inverse_diffusion_2d(points: int = 2000, noise: float = 0.01, seed: int = 0) -> Problem:
    r"""Find `u` and `kappa` in `-div(kappa grad u) = f` on the unit square from measurements of `u` inside.

    `u = x + 0.2 sin(pi x) sin(pi y)`, `kappa = 1 + 0.4 sin(2 pi x) sin(pi y)`. The flux `kappa u_x` through the side
    `x = 0` is known. Where `kappa` is known on that side, the equation determines it along the lines of steepest ascent
    of `u`, which has no critical point (Richter, SIAM J. Appl. Math. 41 (1981)).

    Parameters
    ----------
    points:
        Number of measurements, at uniformly random places.
    noise:
        Standard deviation of the normal noise of the measurements; `u` is between 0 and 1.
    seed:
        Of places and noise.
    """

    def state(x):
        return x[0] + 0.2 * jnp.sin(jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1])

    def conductivity(x):
        return 1.0 + 0.4 * jnp.sin(2.0 * jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1])

    def flux(u, kappa):
        return lambda x: kappa(x) * gradient(u)(x)

    def interior(w, x):
        return -divergence(flux(w.u, w.kappa))(x) + divergence(flux(state, conductivity))(x)

    def inflow(w, x, normal):
        return (flux(w.u, w.kappa)(x) - flux(state, conductivity)(x)) @ normal

    box = Box([0.0, 0.0], [1.0, 1.0])
    x, values = samples(state, box, points, noise, seed, "inverse-diffusion-2d")
    return Problem(
        domain=box,
        terms=(
            Residual("interior", interior),
            Residual("inflow", inflow, on=Face("x", "lower")),
            Data("u", x, values, noise=noise or None),
        ),
        unknowns={"u": Function(), "kappa": Function(bounds=(0.0, None))},
        reference=Reference({"u": state, "kappa": conductivity}, 1e-14),
        name="inverse-diffusion-2d",
    )


@catalogued("inverse-constant")
def inverse_constant(diffusion: float = 0.05, points: int = 200, noise: float = 0.0, seed: int = 0) -> Problem:
    r"""Find `u` and the number `nu` in the heat equation `u_t = nu u_xx` on [0, 1]^2 from measurements of `u`.

    `u = exp(-nu pi^2 t) sin(pi x) + exp(-9 nu pi^2 t) sin(3 pi x) / 2`; `u = 0` at the ends is known, the start is
    not. The search starts at `nu = 0.2`.

    Parameters
    ----------
    diffusion:
        The true `nu`, positive; used for the measurements and the reference alone.
    points:
        Number of measurements, at uniformly random times and places.
    noise:
        Standard deviation of the normal noise of the measurements.
    seed:
        Of times, places and noise.
    """
    if not (np.isfinite(diffusion) and diffusion > 0):
        raise InputError(
            what=f"diffusion is {diffusion}", where="inverse_constant(diffusion)", remedy="give a positive number"
        )

    def state(x):
        rate, place = diffusion * jnp.pi**2 * x[0], jnp.pi * x[1]
        return jnp.exp(-rate) * jnp.sin(place) + 0.5 * jnp.exp(-9.0 * rate) * jnp.sin(3.0 * place)

    def interior(w, x):
        return derivative(w.u, "t")(x) - w.nu * derivative(w.u, "xx")(x)

    def ends(w, x, normal):
        return w.u(x)

    box = Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))
    x, values = samples(state, box, points, noise, seed, "inverse-constant")
    return Problem(
        domain=box,
        terms=(
            Residual("interior", interior),
            Residual("ends", ends, on=(Face("x", "lower"), Face("x", "upper"))),
            Data("u", x, values, noise=noise or None),
        ),
        unknowns={"u": Function(), "nu": Constant(0.2, bounds=(0.0, None))},
        reference=Reference({"u": state, "nu": float(diffusion)}, 1e-14),
        name="inverse-constant",
    )
