"""Linear waves: a damped oscillator, and a pulse in a square membrane."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference, TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual


@catalogued("oscillator")
def oscillator(frequency: float = 60.0, damping: float = 2.0) -> Problem:
    r"""`u'' + 2 damping u' + frequency^2 u = 0` for `t` in [0, 1], `u(0) = 1`, `u'(0) = 0`.

    The solution is `exp(-d t) (cos(w t) + d / w sin(w t))` with `d` the damping and `w^2 = frequency^2 - d^2`.

    Parameters
    ----------
    frequency:
        Frequency without damping, larger than the damping.
    damping:
        Not below zero.
    """
    if not (np.isfinite(frequency) and 0.0 <= damping < frequency):
        raise InputError(
            what=f"frequency is {frequency} and damping {damping}",
            where="oscillator(frequency, damping)",
            remedy="give a finite frequency above the damping, and a damping from 0 on",
        )
    wave = float(np.sqrt(frequency**2 - damping**2))

    def exact(x):
        t = x[0]
        return jnp.exp(-damping * t) * (jnp.cos(wave * t) + damping / wave * jnp.sin(wave * t))

    def motion(u, x):
        return derivative(u, "tt")(x) + 2.0 * damping * derivative(u, "t")(x) + frequency**2 * u(x)

    def place(u, x, normal):
        return u(x) - 1.0

    def speed(u, x, normal):
        return derivative(u, "t")(x)

    start = Face("t", "lower")
    return Problem(
        domain=Box([0.0], [1.0], names=("t",)),
        terms=(Residual("motion", motion), Residual("place", place, on=start), Residual("speed", speed, on=start)),
        # rounding of the phase grows with the frequency
        reference=Reference(exact, 1e-15 * (10.0 + frequency)),
        name="oscillator",
    )


@catalogued("wave-2d")
def wave_2d(width: float = 0.2) -> Problem:
    r"""`u_tt = u_xx + u_yy` on [-1, 1]^2 for `t` in [0, 0.5], 0 at the walls, from a Gaussian pulse at rest.

    The pulse is `exp(-(x^2 + y^2) / (2 width^2))` with its images in the walls, of alternating sign, so that the start
    vanishes there; for the default width the images change it by less than `4e-6`.

    Parameters
    ----------
    width:
        Standard deviation of the pulse, from 0.02 to 0.3: the reference is made for such values.

    Notes
    -----
    With the images the start has the sine coefficients of the whole Gaussian, so the solution is the sum over odd
    `m`, `n` of `a_m a_n cos(pi / 2 sqrt(m^2 + n^2) t) cos(m pi x / 2) cos(n pi y / 2)`,
    `a_m = width sqrt(2 pi) exp(-(m pi width)^2 / 8)`.
    """
    if not (np.isfinite(width) and 0.02 <= width <= 0.3):
        raise InputError(what=f"width is {width}", where="wave_2d(width)", remedy="give a number from 0.02 to 0.3")
    images = 2.0 * np.arange(-3, 4)
    signs = np.where(np.arange(-3, 4) % 2 == 0, 1.0, -1.0)

    def pulse(x):
        return jnp.prod(jnp.sum(signs * jnp.exp(-0.5 * ((x[1:, None] - images) / width) ** 2), axis=1))

    def interior(u, x):
        return derivative(u, "tt")(x) - derivative(u, "xx")(x) - derivative(u, "yy")(x)

    def start(u, x, normal):
        return u(x) - pulse(x)

    def rest(u, x, normal):
        return derivative(u, "t")(x)

    def wall(u, x, normal):
        return u(x)

    begin = Face("t", "lower")
    walls = tuple(Face(name, side) for name in "xy" for side in ("lower", "upper"))
    return Problem(
        domain=Box([0.0, -1.0, -1.0], [0.5, 1.0, 1.0], names=("t", "x", "y")),
        terms=(
            Residual("interior", interior),
            Residual("start", start, on=begin),
            Residual("rest", rest, on=begin),
            Residual("wall", wall, on=walls),
        ),
        reference=TabulatedReference(functools.partial(pulse_in_square, width=width), 1e-12),
        name="wave-2d",
    )


def pulse_in_square(points: np.ndarray, width: float) -> np.ndarray:
    """Solution of `wave_2d` by its sine series, cut off where the coefficients are below `1e-20`.

    Parameters
    ----------
    points:
        Rows `(t, x, y)`.
    width:
        Standard deviation of the pulse.

    Returns
    -------
    np.ndarray
        Values, shape `(n,)`.
    """
    waves = 0.5 * np.pi * np.arange(1, 2 * int(np.ceil(5.0 / (np.pi * width) * 2.0)) + 2, 2)
    height = width * np.sqrt(2.0 * np.pi) * np.exp(-0.5 * (waves * width) ** 2)
    rates = np.hypot(waves[:, None], waves)
    out = np.empty(len(points))
    for part in np.array_split(np.arange(len(points)), max(1, len(points) * len(waves) ** 2 // 2_000_000)):
        t, x, y = points[part].T
        swing = np.cos(t[:, None, None] * rates)
        out[part] = np.einsum(
            "pm,pn,pmn->p", height * np.cos(x[:, None] * waves), height * np.cos(y[:, None] * waves), swing
        )
    return out
