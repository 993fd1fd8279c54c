"""An order of the coordinates in which those that functions couple stand near each other: trains are short then."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

POINTS = 64
"""Pairs of points at which couplings are looked at."""
SMALLEST = 1e-10
"""Couplings below this are rounding."""
LINK = 1e-3
"""Coupling of neighbours in the order of the problem, beside the largest, so that none is without any."""


def chain_order(
    functions: Callable[[np.ndarray], np.ndarray], low: Float[np.ndarray, " d"], high: Float[np.ndarray, " d"]
) -> tuple[int, ...]:
    """The order of some coordinates of a box.

    Two coordinates are coupled as far as functions are neither sums nor products of a function without the one and a
    function without the other. The order is that of the second eigenvector of the graph of couplings.

    Parameters
    ----------
    functions:
        From points `(n, d)` to values `(n, m)` of all functions.
    low, high:
        Corners of the box.

    References
    ----------
    Juvan, Mohar, Discrete Appl. Math. 36 (1992), 153-168 (linear arrangements by eigenvectors).
    """
    weights = couplings(functions, low, high)
    dim = len(low)
    if dim < 3 or weights.max() < SMALLEST:
        return tuple(range(dim))
    near = np.arange(dim - 1)
    weights[near, near + 1] += LINK * weights.max()
    weights[near + 1, near] = weights[near, near + 1]
    second = np.linalg.eigh(np.diag(weights.sum(axis=0)) - weights)[1][:, 1]
    order = np.argsort(second, kind="stable")
    return tuple(int(k) for k in (order if order[0] < order[-1] else order[::-1]))


def couplings(
    functions: Callable[[np.ndarray], np.ndarray], low: Float[np.ndarray, " d"], high: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "d d"]:
    """How far functions are from sums and from products, for each pair of coordinates."""
    dim, rng = len(low), np.random.default_rng(3)
    first, second = (low + rng.random((POINTS, dim)) * (high - low) for _ in range(2))
    pairs = list(itertools.combinations(range(dim), 2))

    def moved(*axes: int) -> np.ndarray:
        points = first.copy()
        points[:, axes] = second[:, axes]
        return points

    places = [first, *(moved(k) for k in range(dim)), *(moved(*pair) for pair in pairs)]
    values = functions(np.concatenate(places)).reshape(len(places), POINTS, -1)
    values = values / np.maximum(np.abs(values).max(axis=(0, 1)), 1e-300)
    base, single, both = values[0], values[1 : dim + 1], values[dim + 1 :]
    out = np.zeros((dim, dim))
    for (k, m), corner in zip(pairs, both, strict=True):
        summed = np.abs(base - single[k] - single[m] + corner).max(axis=0)
        multiplied = np.abs(base * corner - single[k] * single[m]).max(axis=0)
        out[k, m] = out[m, k] = np.minimum(summed, multiplied).max()
    return out
