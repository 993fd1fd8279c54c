"""Periodic Burgers equation with a generic smooth start: shocks that form, move and merge; exact by Cole and Hopf."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from hierax.problems.burgers import burgers_residual, mean_of_start
from hierax.problems.domain import Box, Face
from hierax.problems.problem import Problem
from hierax.problems.reference import TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual

MEAN, WAVES = 0.4, ((1.0, 1, 5.5), (1.1, 2, 5.3))
"""Mean of the start; amplitude, frequency and phase of its waves."""


def start_values(x, xp=np):
    """The start, `MEAN + sum of amplitude * sin(frequency * pi * x + phase)`."""
    return xp.asarray(MEAN + sum(a * xp.sin(k * xp.pi * x + p) for a, k, p in WAVES))


@catalogued("burgers-merging")
def burgers_merging(viscosity: float = 0.01 / np.pi) -> Problem:
    r"""`u_t + u u_x = viscosity u_xx`, periodic in `x` on [-1, 1], `t` in [0, 1], from two waves and a mean.

    Two shocks form, move with different speeds and merge before the end; nothing is symmetric and nothing stands still.

    Parameters
    ----------
    viscosity:
        At least `0.0005 / pi`: the reference is made for such values.
    """
    interior = burgers_residual(viscosity, "burgers_merging(viscosity)")

    def start(u, x, normal):
        return u(x) - start_values(x[1], jnp)

    return Problem(
        domain=Box([0.0, -1.0], [1.0, 1.0], names=("t", "x"), periodic=("x",)),
        terms=(Residual("interior", interior), Residual("start", start, on=Face("t", "lower"))),
        reference=TabulatedReference(functools.partial(merging, viscosity=viscosity), merging_bound(viscosity)),
        name="burgers-merging",
    )


def merging(points: np.ndarray, viscosity: float, resolution: float = 1.0) -> np.ndarray:
    r"""Exact solution by quadrature of the Cole-Hopf formula, in the frame that moves with the mean.

    With `V` the start without its mean `m` and `P` a primitive of it, `u - m` at `(t, x)` is the mean of `V(y)`,
    `y = x - m t - sqrt(t) s`, under the density proportional to `exp(-P(y) / (2 nu) - s^2 / (4 nu))`. The largest
    exponent of every point is subtracted first; the trapezoidal rule converges exponentially.

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
    height = sum(a / (k * np.pi) for a, k, _ in WAVES)  # of P, above and below zero
    slope = sum(a * k * np.pi for a, k, _ in WAVES)
    # beyond `reach` the density is below exp(-40) of its value at s = 0
    reach = np.sqrt(2.0 * (2.0 * height + 80.0 * viscosity))
    narrowest = np.sqrt(2.0 * viscosity / (1.0 + slope))
    half = int(np.ceil(resolution * reach * max(2.5 / narrowest, 6.0 * max(k for _, k, _ in WAVES))))
    nodes = np.linspace(-reach, reach, 2 * half + 1)
    moving = np.stack([points[:, 0], points[:, 1] - MEAN * points[:, 0]], axis=1)
    return mean_of_start(
        moving,
        viscosity,
        nodes,
        start_values,
        lambda y: -np.asarray(sum(a / (k * np.pi) * np.cos(k * np.pi * y + p) for a, k, p in WAVES)),
    )


@functools.lru_cache(maxsize=32)
def merging_bound(viscosity: float) -> float:
    """Relative L2 bound of `merging`: ten times the difference that 1.6 times as many nodes make, and rounding."""
    t, x = np.meshgrid(np.linspace(0.0, 1.0, 21), np.linspace(-1.0, 1.0, 101), indexing="ij")
    points = np.stack([t.ravel(), x.ravel()], axis=1)
    used, check = merging(points, viscosity), merging(points, viscosity, resolution=1.6)
    rounding = np.finfo(float).eps * (4.0 + 1.0 / (np.pi * viscosity))
    return float(10.0 * np.linalg.norm(used - check) / np.linalg.norm(check) + rounding)
