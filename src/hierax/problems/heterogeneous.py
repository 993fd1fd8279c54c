"""Diffusion through a rough medium."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.operators import divergence, gradient
from hierax.problems.problem import Problem
from hierax.problems.reference import TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.spectral_elements import SpectralElements
from hierax.problems.terms import Residual

WAVES, STRENGTH, ROUGHNESS = 4, 0.5, 0.5
"""Waves an octave, amplitude of a wave of the first octave, and its decay from octave to octave as a power of two."""


@catalogued("rough-diffusion")
def rough_diffusion(octaves: int = 4, seed: int = 0) -> Problem:
    r"""`-div(a grad u) = 1` on the unit square, 0 on its boundary, with a coefficient of many scales.

    `log a` is the sum over octaves `j = 0, 1, ...` and four random directions each of
    `2^(-1 - j / 2) cos(2 pi 2^j d . x + phase)`, `d` of length 1. The slopes of the octaves grow like `2^(j / 2)`: with
    ever more octaves `a` would be continuous and nowhere smooth. With four, `a` varies by a factor of about 50 and has
    waves of length 1/8.

    Parameters
    ----------
    octaves:
        1 to 6.
    seed:
        Of directions and phases.
    """
    if octaves not in range(1, 7):
        raise InputError(
            what=f"{octaves} octaves", where="rough_diffusion(octaves)", remedy="give a whole number, 1 to 6"
        )
    coefficient = functools.partial(rough_coefficient, octaves=octaves, seed=seed)

    def interior(u, x):
        return -divergence(lambda z: coefficient(z, xp=jnp) * gradient(u)(z))(x) - 1.0

    def wall(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=TabulatedReference(_solution(octaves, seed), rough_bound(octaves, seed)),
        name="rough-diffusion",
    )


def rough_coefficient(points: Any, octaves: int, seed: int, xp: Any = np) -> Any:
    """The coefficient of `rough_diffusion` at points `(..., 2)`, computed with NumPy or `jax.numpy` as `xp`."""
    rng = np.random.default_rng(seed)
    angle, phase = 2.0 * np.pi * rng.uniform(size=(2, octaves, WAVES))
    octave = np.arange(octaves)[:, None]
    wave = 2.0 * np.pi * 2.0**octave * np.stack([np.cos(angle), np.sin(angle)])
    height = STRENGTH * 2.0 ** (-ROUGHNESS * octave)
    turn = points[..., 0, None, None] * wave[0] + points[..., 1, None, None] * wave[1] + phase
    return xp.exp(xp.sum(height * xp.cos(turn), axis=(-2, -1)))


@functools.lru_cache(maxsize=8)
def _solution(octaves: int, seed: int, degree: int = 8) -> Callable[[np.ndarray], np.ndarray]:
    """Spectral elements, at least two for each of the finest waves; computed when it is first asked for values."""
    return SpectralElements(
        functools.partial(rough_coefficient, octaves=octaves, seed=seed),
        lambda points: np.ones(len(points)),
        max(8, 2 ** (octaves + 1)),
        degree,
    )


@functools.lru_cache(maxsize=8)
def rough_bound(octaves: int, seed: int) -> float:
    """Relative L2 bound of the reference: the difference to elements of a degree smaller by two."""
    points = np.random.default_rng(0).uniform(size=(2000, 2))
    used, check = _solution(octaves, seed)(points), _solution(octaves, seed, 6)(points)
    return float(np.linalg.norm(used - check) / np.linalg.norm(used))
