"""Functions for networks to learn from scattered samples: steep where no grid line runs, or of many coordinates."""

from __future__ import annotations

import jax.numpy as jnp

from hierax.problems.domain import Box
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.regression import sampled, samples
from hierax.problems.terms import Data
from hierax.problems.unknowns import Function


@catalogued("curved-fronts")
def curved_fronts(points: int = 16_000, width: float = 0.02, noise: float = 0.0, seed: int = 0) -> Problem:
    r"""Samples of two curved fronts and an oblique wave on the unit square.

    .. math:: \tanh\frac{|x - (0.35, 0.4)| - 0.3}{w} + \tfrac12 \tanh\frac{y - 0.7 - 0.12 \sin 2 \pi x}{\tfrac34 w}
              + \tfrac{3}{10} \sin 2 \pi (5 x + 4 y)

    Parameters
    ----------
    points:
        Number of samples, uniformly random.
    width:
        :math:`w`, of the first front.
    noise:
        Standard deviation of the normal noise that is added to the samples.
    seed:
        Of the samples and their noise.
    """

    def exact(x):
        # the smallest positive number keeps the derivative at the centre finite
        radius = jnp.sqrt((x[0] - 0.35) ** 2 + (x[1] - 0.4) ** 2 + 1e-300)
        second = x[1] - 0.7 - 0.12 * jnp.sin(2 * jnp.pi * x[0])
        wave = jnp.sin(2 * jnp.pi * (5 * x[0] + 4 * x[1]))
        return jnp.tanh((radius - 0.3) / width) + 0.5 * jnp.tanh(second / (0.75 * width)) + 0.3 * wave

    return sampled("curved-fronts", exact, Box([0.0, 0.0], [1.0, 1.0]), points, noise, seed)


@catalogued("constitutive")
def constitutive(points: int = 12_000, noise: float = 0.0, seed: int = 0) -> Problem:
    r"""Samples of the six components of stress as a function of the six components of strain.

    A solid that stiffens under compression and whose resistance to a change of shape saturates,

    .. math:: \sigma = \frac{\tanh 3 q}{q}\, e + \tfrac45 (1 - \exp(-\tfrac45 \operatorname{tr} \varepsilon))\, I ,
              \qquad e = \varepsilon - \tfrac13 \operatorname{tr} \varepsilon\, I, \quad
              q^2 = \tfrac32\, e : e + 10^{-4},

    with the strains xx, yy, zz and twice xy, xz, yz each in [-1, 1], in units of a strain of saturation.

    Parameters
    ----------
    points:
        Number of samples, uniformly random.
    noise:
        Standard deviation of the normal noise that is added to every component.
    seed:
        Of the samples and their noise.
    """
    names = ("exx", "eyy", "ezz", "gxy", "gxz", "gyz")
    box = Box([-1.0] * 6, [1.0] * 6, names=names)
    x, values = samples(_stress, box, points, noise, seed, "constitutive")
    return Problem(
        domain=box,
        terms=(Data("stress", x, values, noise=noise or None),),
        unknowns={"stress": Function(6)},
        reference=Reference({"stress": _stress}, 1e-14),
        name="constitutive",
    )


def _stress(strain):
    volume, half = strain[0] + strain[1] + strain[2], 0.5 * strain[3:]
    shape = strain[:3] - volume / 3
    q = jnp.sqrt(1.5 * (shape @ shape + 2 * half @ half) + 1e-4)
    pressure = 0.8 * (1 - jnp.exp(-0.8 * volume))
    return jnp.tanh(3 * q) / q * jnp.concatenate([shape, half]) + pressure * jnp.array([1.0, 1, 1, 0, 0, 0])
