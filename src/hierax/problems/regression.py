"""Functions to be learned from samples."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Data

ANGLE = 0.175
"""Rotation of the coordinates of `rotated-regression`, in radians."""


@catalogued("regression-1d")
def regression_1d(points: int = 1000, noise: float = 0.0, seed: int = 0) -> Problem:
    """Samples of the sum over `k` in {1, 2, 4, 8, 16, 32} of `sin(2 pi k x) / k` on [0, 1].

    Parameters
    ----------
    points:
        Number of samples, uniformly random.
    noise:
        Standard deviation of the normal noise that is added to the samples.
    seed:
        Of the samples and their noise.
    """

    def exact(x):
        return sum(jnp.sin(2.0 * jnp.pi * k * x[0]) / k for k in (1, 2, 4, 8, 16, 32))

    return sampled("regression-1d", exact, Box([0.0], [1.0]), points, noise, seed)


@catalogued("regression-2d")
def regression_2d(points: int = 10_000, noise: float = 0.0, seed: int = 0) -> Problem:
    """Samples of `sin(2 pi x) sin(2 pi y) + 0.2 sin(24 pi x) sin(24 pi y)` on the unit square.

    Parameters
    ----------
    points:
        Number of samples, uniformly random.
    noise:
        Standard deviation of the normal noise that is added to the samples.
    seed:
        Of the samples and their noise.
    """

    def exact(x):
        return jnp.prod(jnp.sin(2.0 * jnp.pi * x)) + 0.2 * jnp.prod(jnp.sin(24.0 * jnp.pi * x))

    return sampled("regression-2d", exact, Box([0.0, 0.0], [1.0, 1.0]), points, noise, seed)


@catalogued("rotated-regression")
def rotated_regression(points: int = 20_000, seed: int = 0) -> Problem:
    """The regression of arXiv 2603.04827, section 5.1.

    `cos(4 pi x') + sin(pi y') + sin(2 pi y') + |sin(3 pi y'^2)|` of the coordinates turned by 0.175 rad about the
    origin, `x' = cos(a) x - sin(a) y`, `y' = sin(a) x + cos(a) y`, sampled on [1e-4, 0.9999]^2. The values are mapped
    to [0, 1] by an affine function with the minimum and maximum over the whole square (found by a grid that is zoomed
    in on to rounding), not those of the samples, so the function does not depend on `points` and `seed`.

    The paper states neither the centre and sense of the turn nor where minimum and maximum are taken; the choices here
    are the simplest.

    Parameters
    ----------
    points:
        Number of samples, uniformly random.
    seed:
        Of the samples.
    """
    box = Box([1e-4, 1e-4], [0.9999, 0.9999])
    low, high = rotated_range()

    def exact(x):
        return (_rotated(x[0], x[1], jnp) - low) / (high - low)

    return sampled("rotated-regression", exact, box, points, 0.0, seed)


def _rotated(x, y, xp):
    a, b = np.cos(ANGLE) * x - np.sin(ANGLE) * y, np.sin(ANGLE) * x + np.cos(ANGLE) * y
    return xp.cos(4 * np.pi * a) + xp.sin(np.pi * b) + xp.sin(2 * np.pi * b) + xp.abs(xp.sin(3 * np.pi * b**2))


@functools.cache
def rotated_range() -> tuple[float, float]:
    """Minimum and maximum of the unscaled function of `rotated_regression` over its box."""
    return -_largest(-1.0), _largest(1.0)


def _largest(sign: float) -> float:
    """Maximum of `sign` times the function: a grid of 401 x 401 points, then grids 50 times smaller round the best."""
    lower, upper = np.full(2, 1e-4), np.full(2, 0.9999)
    best = -np.inf
    for _ in range(8):
        axes = [np.linspace(a, b, 401) for a, b in zip(lower, upper, strict=True)]
        values = sign * _rotated(axes[0][:, None], axes[1], np)
        i, j = np.unravel_index(np.argmax(values), values.shape)
        best = max(best, float(values[i, j]))
        middle, half = np.array([axes[0][i], axes[1][j]]), (upper - lower) / 100
        lower, upper = np.maximum(middle - half, 1e-4), np.minimum(middle + half, 0.9999)
    return best


def sampled(name: str, exact, box: Box, points: int, noise: float, seed: int) -> Problem:
    """A regression problem: uniformly random samples of `exact` in the box, with normal noise."""
    x, values = samples(exact, box, points, noise, seed, name)
    return Problem(
        domain=box,
        terms=(Data("u", x, values, noise=noise or None),),
        reference=Reference(exact, 1e-14),
        name=name,
    )


def samples(exact, box: Box, points: int, noise: float, seed: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Uniformly random points in the box and noisy values of `exact` there."""
    if points < 1:
        raise InputError(what=f"{points} points", where=f"problem {name!r}", remedy="give a number from 1 on")
    if not (np.isfinite(noise) and noise >= 0):
        raise InputError(
            what=f"noise is {noise}", where=f"problem {name!r}", remedy="give a standard deviation, 0 for none"
        )
    rng = np.random.default_rng(seed)
    x = rng.uniform(box.lower, box.upper, (points, box.dim))
    clean = np.asarray(jax.vmap(exact)(jnp.asarray(x)))
    return x, clean + noise * rng.standard_normal(clean.shape)
