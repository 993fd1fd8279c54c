"""Allen-Cahn equation in one dimension, periodic, with a spectral reference that states its own error."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

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


def _smooth(x, xp):
    return xp.sin(xp.pi * x / 2) ** 2 * xp.cos(xp.pi * x)


def _published(x, xp):
    return x**2 * xp.cos(xp.pi * x)


STARTS: dict[str, Callable] = {"smooth": _smooth, "published": _published}


@catalogued("allen-cahn")
def allen_cahn(diffusion: float = 1e-4, start: str = "smooth") -> Problem:
    r"""`u_t = diffusion u_xx + 5 u - 5 u^3`, periodic in `x` on [-1, 1], `t` in [0, 1].

    Two starts:

    - `smooth`, `sin(pi x / 2)^2 cos(pi x)`: even, 0 in the middle, -1 at the ends, with the same two small humps
      and the same final layers as the published one, and periodic with all its derivatives. The default, because its
      reference is accurate to many digits.
    - `published`, `x^2 cos(pi x)`: the start of the literature. Continued periodically its slope jumps by 4 at the
      ends, so every spectral reference has a limited accuracy near them at early times; the error bound of the
      reference says how much.

    Parameters
    ----------
    diffusion:
        Positive; the reference resolves values from 2e-5 on.
    start:
        `smooth` or `published`.
    """
    if start not in STARTS:
        raise InputError(
            what=f"start {start!r} is unknown", where="allen_cahn(start)", remedy=f"choose one of {', '.join(STARTS)}"
        )
    if not (np.isfinite(diffusion) and diffusion >= 2e-5):
        raise InputError(
            what=f"diffusion is {diffusion}", where="allen_cahn(diffusion)", remedy="give a number from 2e-5 on"
        )
    profile = STARTS[start]

    def interior(u, x):
        v = u(x)
        return derivative(u, "t")(x) - diffusion * derivative(u, "xx")(x) - 5.0 * v + 5.0 * v**3

    def beginning(u, x, normal):
        return u(x) - profile(x[1], jnp)

    table, bound = certified_table(float(diffusion), start)
    return Problem(
        domain=Box([0.0, -1.0], [1.0, 1.0], names=("t", "x"), periodic=("x",)),
        terms=(Residual("interior", interior), Residual("start", beginning, on=Face("t", "lower"))),
        reference=TabulatedReference(table, bound),
        name="allen-cahn",
    )


@functools.lru_cache(maxsize=4)
def certified_table(diffusion: float, start: str) -> tuple[Callable[[np.ndarray], np.ndarray], float]:
    """Solution as a function of rows `(t, x)`, and its relative L2 bound, from two independent resolutions.

    The bound is the difference from a run with two thirds of the modes and steps: that is the error of the coarser run,
    and several times the error of the one that is used. It is measured on points that are denser at early times and
    near the ends. With the published start it comes from times below 1e-3, where the kink is still sharp.
    """
    finer = max(1.0, np.sqrt(1e-4 / diffusion))  # layers are as wide as the root of the diffusion
    modes, steps, blocks = (2048, 500, 14) if start == "published" else (1024, 1000, 0)
    modes = 2 * round(finer * modes / 2)
    fine = _with_exact_start(solve(diffusion, start, 3 * modes, 3 * steps, blocks), start)
    coarse = _with_exact_start(solve(diffusion, start, 2 * modes, 2 * steps, max(blocks - 1, 0)), start)
    points, weights = _probe()
    difference, size = fine(points) - coarse(points), fine(points)
    bound = float(np.sqrt(np.sum(weights * difference**2) / np.sum(weights * size**2)))
    return fine, max(bound, 1e-13)


def solve(diffusion: float, start: str, modes: int, steps: int, blocks: int) -> DenseTable:
    """ETDRK4 on `modes` points with about `steps` steps a unit of time, stored 200 times a unit of time or oftener.

    With `blocks`, time is divided at 2^-1, 2^-2, ..., 2^-blocks, and every block has at least 32 stored levels: that
    resolves the square-root layer in time which starts from a kink.
    """
    k = np.pi * np.arange(modes // 2 + 1)
    linear = 5.0 - diffusion * k**2

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return -5.0 * np.fft.rfft(np.fft.irfft(v, n=modes) ** 3)

    # Fourier coefficients of the start from 32 times as many samples: a kink would alias into the low modes otherwise
    x = -1.0 + 2.0 * np.arange(32 * modes) / (32 * modes)
    v = np.fft.rfft(STARTS[start](x, np))[: modes // 2 + 1] / 32
    v[-1] = 0.0
    grid = max(2 * modes, min(4 * modes, 16384))
    edges = [0.0, *(2.0**-j for j in range(blocks, 0, -1)), 1.0]
    plan = []
    for a, b in itertools.pairwise(edges):
        levels = max(32, round(200 * (b - a)))
        plan.append((a, b, levels, max(1, round(steps * (b - a) / levels))))
    return stepped(linear, nonlinear, v, plan, (-1.0, 2.0), grid)


def _with_exact_start(table: DenseTable, start: str) -> Callable[[np.ndarray], np.ndarray]:
    def value(points: np.ndarray) -> np.ndarray:
        points = np.asarray(points, dtype=float)
        wrapped = (points[:, 1] + 1.0) % 2.0 - 1.0
        return np.where(points[:, 0] == 0.0, STARTS[start](wrapped, np), table(points))

    return value


def _probe() -> tuple[np.ndarray, np.ndarray]:
    """Midpoint rule in `(r, q)` with `t = r^3`, `x = 1 - q^3` (the solution is even): points and weights."""
    r, q = ((np.arange(n) + 0.5) / n for n in (120, 400))
    t, x = np.meshgrid(r**3, 1.0 - q**3, indexing="ij")
    weights = np.outer(3.0 * r**2 / len(r), 3.0 * q**2 / len(q))
    return np.stack([t.ravel(), x.ravel()], axis=1), weights.ravel()
