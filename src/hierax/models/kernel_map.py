"""A map between functions by a kernel between their reduced coefficients: what few samples determine."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.models.regression import matern

KEPT, MODES = 1e-10, 100
"""Part of the variance of a first mode below which modes of inputs and outputs are left out; most modes of inputs."""
LENGTHS = 0.5, 1.0, 2.0, 4.0, 8.0, 16.0
"""Lengths over the median distance between samples that are tried."""
FLAT = 1.0, 0.75, 0.5, 0.25
"""Powers of the sizes of the modes of inputs tried: 1 leaves the norm of functions, 0 makes modes alike."""
NUGGETS = 10.0 ** np.arange(-10, 1)
"""Parts of the mean diagonal that are tried as variances of what the kernel does not hold."""
LINEAR = 0.0, 1.0, 30.0
"""Weights of a linear kernel beside the bumps that are tried."""


class KernelMap(eqx.Module):
    r"""Outputs :math:`\mu + \sum_i k(P a, P a_i) w_i`, of inputs :math:`a` and their modes :math:`P`.

    The kernel is a bump of Matern of order 5/2 of the distance, and a linear part.

    Attributes
    ----------
    project, middle:
        From channels on the grid to coefficients `(cells channels, k)`, and those of the mean of the samples `(k,)`.
    samples, weights, mean:
        Coefficients `(n, k)` of the samples in lengths of the bump, what each adds `(n, cells outputs)`, and the mean.
    linear:
        Weight of the linear part.
    grid:
        Cells that inputs have to have, as outputs do.

    References
    ----------
    Batlle, Darcy, Hosseini, Owhadi, J. Comput. Phys. 496 (2024), arXiv 2304.13202 (kernels are competitive for few
    samples).
    """

    project: Float[Array, "cells k"]
    middle: Float[Array, " k"]
    samples: Float[Array, "n k"]
    weights: Float[Array, "n values"]
    mean: Float[Array, " values"]
    linear: float
    grid: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, x: Float[Array, "batch *grid into"]) -> Float[Array, "batch *grid out"]:
        z = x.reshape(len(x), -1) @ self.project - self.middle
        values = self.mean + bumps(z, self.samples, self.linear, jnp) @ self.weights
        values = values.reshape(len(x), *self.grid, -1)
        # the factors that networks choose are one
        return jnp.concatenate([values, jnp.zeros_like(values)], axis=-1)


def bumps(a: Any, b: Any, linear: float, xp: Any) -> Any:
    """The kernel between rows `(n, k)` and `(m, k)` in lengths of the bump."""
    products = a @ b.T
    square = xp.sum(a**2, axis=1)[:, None] + xp.sum(b**2, axis=1) - 2.0 * products
    return matern(xp.maximum(square, 0.0), xp) + linear * products


class _Tried(NamedTuple):
    error: float
    flat: float
    length: float
    linear: float
    nugget: float


def fitted_map(seen: Float[np.ndarray, "n *grid into"], values: Float[np.ndarray, "n *grid out"]) -> KernelMap:
    """The map whose length, linear part, weights of modes and nugget predict samples best that are left out.

    Parameters
    ----------
    seen, values:
        Channels of samples, and their outputs in relative size.
    """
    count, grid = len(seen), seen.shape[1:-1]
    a, u = (np.asarray(part, float).reshape(count, -1) for part in (seen, values))
    sizes = np.maximum(np.linalg.norm(u, axis=1), 1e-300)
    middle, mean = a.mean(axis=0), u.mean(axis=0)
    left, spread, modes = np.linalg.svd(a - middle, full_matrices=False)
    kept = min(MODES, max(1, int(np.sum(spread**2 > KEPT * spread[0] ** 2))))
    left, spread, modes = left[:, :kept], spread[:kept], modes[:kept]
    apart = u - mean
    # errors are those of the outputs, in the basis that the samples span
    short, scale, _ = np.linalg.svd(apart, full_matrices=False)
    short = short * scale
    best = min(_tried(left, spread, short, sizes), key=lambda one: one.error)
    power = spread**best.flat / best.length
    z = left * power
    matrix = bumps(z, z, best.linear, np)
    matrix[np.diag_indices_from(matrix)] += best.nugget * np.trace(matrix) / count
    weights = np.linalg.solve(matrix, apart)
    project = modes.T * (power / np.maximum(spread, 1e-300))
    project, at, z, weights, mean = map(jnp.asarray, (project, middle @ project, z, weights, mean))
    return KernelMap(project, at, z, weights, mean, best.linear, grid)


def _tried(left: np.ndarray, spread: np.ndarray, values: np.ndarray, sizes: np.ndarray) -> list[_Tried]:
    """Errors at samples left out one at a time, in closed form."""
    found = []
    for flat in FLAT:
        z = left * spread**flat
        square = np.sum(z**2, axis=1)
        distance = np.sqrt(np.median(np.maximum(square[:, None] + square - 2.0 * z @ z.T, 0.0)) + 1e-300)
        for length, linear in itertools.product(LENGTHS, LINEAR):
            matrix = bumps(z / (length * distance), z / (length * distance), linear, np)
            scale = np.trace(matrix) / len(z)
            own, vectors = np.linalg.eigh(matrix)
            turned = vectors.T @ values
            for nugget in NUGGETS:
                inverse = 1.0 / (np.maximum(own, 0.0) + nugget * scale)
                weights, diagonal = vectors @ (inverse[:, None] * turned), (vectors**2) @ inverse
                error = float(np.mean(np.linalg.norm(weights / diagonal[:, None], axis=1) / sizes))
                found.append(_Tried(error, flat, length * distance, linear, nugget))
    return found
