"""Cahn-Hilliard equation in one dimension, periodic, with a spectral reference that states its own error."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Box, Face
from hierax.problems.operators import derivative
from hierax.problems.problem import Problem
from hierax.problems.reference import TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.spectral import DenseTable, stepped
from hierax.problems.terms import Residual
from hierax.problems.unknowns import Function

STORED = 200
"""Levels of the reference."""


@catalogued("cahn-hilliard")
def cahn_hilliard(mobility: float = 1e-2, gradient: float = 1e-6) -> Problem:
    r"""Two phases part, `u_t = mobility mu_xx`, `mu = u^3 - u - gradient / mobility u_xx`, on [-1, 1], `t` in [0, 1].

    Periodic in `x`, from `-cos(2 pi x)`. The chemical potential `mu` is the second unknown, so that no derivative is
    of higher order than two. Layers end up `sqrt(2 gradient / mobility)` wide.

    Parameters
    ----------
    mobility, gradient:
        Positive; the reference resolves layers of 5e-3 and wider.

    Raises
    ------
    InputError
        For other numbers.
    """
    if not (mobility > 0.0 and gradient > 0.0 and 2.5e-5 <= gradient / mobility <= 1.0 and mobility <= 1.0):
        raise InputError(
            what=f"mobility is {mobility}, gradient {gradient}", where="cahn_hilliard(mobility, gradient)",
            remedy="give positive numbers up to 1 whose ratio gradient / mobility is from 2.5e-5 to 1",
        )  # fmt: skip

    def balance(w, x):
        return derivative(w.u, "t")(x) - mobility * derivative(w.mu, "xx")(x)

    def potential(w, x):
        v = w.u(x)
        return w.mu(x) - v**3 + v + gradient / mobility * derivative(w.u, "xx")(x)

    def beginning(w, x, normal):
        return w.u(x) + jnp.cos(2.0 * jnp.pi * x[1])

    table, bound = certified_table(float(mobility), float(gradient))
    return Problem(
        domain=Box([0.0, -1.0], [1.0, 1.0], names=("t", "x"), periodic=("x",)),
        terms=(
            Residual("balance", balance),
            Residual("potential", potential),
            Residual("start", beginning, on=Face("t", "lower")),
        ),
        unknowns={"u": Function(), "mu": Function()},
        reference=TabulatedReference(table, bound),
        name="cahn-hilliard",
    )


@functools.lru_cache(maxsize=4)
def certified_table(mobility: float, gradient: float) -> tuple[DenseTable, float]:
    """Solution as a function of rows `(t, x)`, and its relative L2 bound: what two thirds of modes and steps change."""
    finer = max(1.0, np.sqrt(1e-4 * mobility / gradient))
    fine, coarse = (solve(mobility, gradient, 2 * round(finer * k * 128), k * 1000) for k in (3, 2))
    t, x = np.meshgrid(((np.arange(60) + 0.5) / 60) ** 2, -1.0 + (np.arange(400) + 0.5) / 200, indexing="ij")
    points, weights = np.stack([t.ravel(), x.ravel()], axis=1), np.sqrt(t.ravel())
    size = fine(points)
    bound = float(np.sqrt(np.sum(weights * (size - coarse(points)) ** 2) / np.sum(weights * size**2)))
    return fine, max(bound, 1e-13)


def solve(mobility: float, gradient: float, modes: int, steps: int) -> DenseTable:
    """ETDRK4 with so many modes and steps."""
    square = (np.pi * np.arange(modes // 2 + 1)) ** 2
    linear = mobility * square - gradient * square**2

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return -mobility * square * np.fft.rfft(np.fft.irfft(v, n=modes) ** 3)

    start = np.fft.rfft(-np.cos(2.0 * np.pi * (-1.0 + 2.0 * np.arange(modes) / modes)))
    return stepped(linear, nonlinear, start, [(0.0, 1.0, STORED, steps // STORED)], (-1.0, 2.0), 4 * modes)
