"""Helmholtz's equation: a source in the middle of a square between two resonances, and two scales in an L-shape."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from hierax._errors import InputError
from hierax.problems.domain import Boundary, Box, PointCloud
from hierax.problems.operators import laplacian
from hierax.problems.problem import Problem
from hierax.problems.reference import Reference, TabulatedReference
from hierax.problems.registry import catalogued
from hierax.problems.terms import Residual

# --- a square, off resonance --------------------------------------------------------------------


@catalogued("helmholtz")
def helmholtz(octave: int = 2) -> Problem:
    r"""`Laplacian u + k^2 u = f` on the unit square, 0 on its boundary, `f` a Gaussian of width `0.2 / 2^octave`.

    The wave number is `k = pi sqrt(25 * 4^(octave - 1) + 1/2)`: 8.2, 15.9, 31.5, 62.9, 125.7 for octaves 0 to 4, with
    `k / (2 pi)` waves along a side. The eigenvalues of the square are `pi^2` times integers, so `k^2` is at least
    `pi^2 / 2` away from each of them. Settings of the literature
    (arXiv 2306.05486, `k = 2 pi 2^octave / 0.8`) sit on eigenvalues from octave 1 on, where the solution is not unique.

    Parameters
    ----------
    octave:
        0 to 5.
    """
    if octave not in range(6):
        raise InputError(what=f"octave is {octave}", where="helmholtz(octave)", remedy="give a whole number, 0 to 5")
    square = np.pi**2 * (25.0 * 4.0 ** (octave - 1) + 0.5)
    width = 0.2 / 2.0**octave

    def interior(u, x):
        source = jnp.exp(-0.5 * jnp.sum((x - 0.5) ** 2) / width**2)
        return laplacian(u)(x) + square * u(x) - source

    def wall(u, x, normal):
        return u(x)

    return Problem(
        domain=Box([0.0, 0.0], [1.0, 1.0]),
        terms=(Residual("interior", interior), Residual("wall", wall, on="boundary")),
        reference=TabulatedReference(functools.partial(source_in_square, octave=octave), source_bound(octave)),
        name="helmholtz",
    )


def source_in_square(points: np.ndarray, octave: int, more: int = 0) -> np.ndarray:
    r"""Solution of `helmholtz` by Chebyshev collocation and diagonalisation in either direction.

    With `D` the second-order differentiation matrix of the inner points, `D = V diag(e) V^-1`, the coefficients of the
    solution are those of the source over `e_i + e_j + k^2` (Lynch, Rice, Thomas 1964).

    Parameters
    ----------
    points:
        Rows `(x, y)`.
    octave:
        Of the problem.
    more:
        Further collocation points a side.

    Returns
    -------
    np.ndarray
        Values, shape `(n,)`.
    """
    nodes, table = _source_table(octave, more)
    x, y = (_interpolation(nodes, points[:, axis]) for axis in range(2))
    return np.einsum("pi,ij,pj->p", x, table, y, optimize=True)


@functools.lru_cache(maxsize=12)
def _source_table(octave: int, more: int) -> tuple[np.ndarray, np.ndarray]:
    square = np.pi**2 * (25.0 * 4.0 ** (octave - 1) + 0.5)
    count = int(48 + 1.2 * np.sqrt(square)) + 24 * octave + more
    nodes = 0.5 - 0.5 * np.cos(np.pi * np.arange(count + 1) / count)
    slopes = _differentiation(nodes)
    values, vectors = np.linalg.eig((slopes @ slopes)[1:-1, 1:-1])
    values, vectors = np.real(values), np.real(vectors)
    profile = np.exp(-0.5 * ((nodes[1:-1] - 0.5) / (0.2 / 2.0**octave)) ** 2)
    inner = np.linalg.solve(vectors, profile)
    scaled = np.outer(inner, inner) / (values[:, None] + values + square)
    table = np.zeros((count + 1, count + 1))
    table[1:-1, 1:-1] = vectors @ scaled @ vectors.T
    return nodes, table


@functools.lru_cache(maxsize=12)
def source_bound(octave: int) -> float:
    """Relative L2 bound of `source_in_square`: ten times the difference that 16 more points a side make."""
    points = np.random.default_rng(0).uniform(size=(2000, 2))
    used, check = source_in_square(points, octave), source_in_square(points, octave, more=16)
    return float(10.0 * np.linalg.norm(used - check) / np.linalg.norm(check))


def _differentiation(nodes: np.ndarray) -> np.ndarray:
    """Differentiation matrix of the polynomial through Chebyshev points, diagonal by zero sums of the rows."""
    weights = _chebyshev_weights(len(nodes))
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    matrix = weights / weights[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


def _interpolation(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows that interpolate from Chebyshev nodes to the places `at`, by the barycentric formula: `(n, nodes)`."""
    gaps = at[:, None] - nodes
    row, column = np.nonzero(gaps == 0.0)
    gaps[row, column] = 1.0
    parts = _chebyshev_weights(len(nodes)) / gaps
    rows = parts / parts.sum(axis=1, keepdims=True)
    rows[row] = 0.0
    rows[row, column] = 1.0
    return rows


def _chebyshev_weights(count: int) -> np.ndarray:
    weights = (-1.0) ** np.arange(count)
    weights[[0, -1]] *= 0.5
    return weights


# --- an L-shape, two scales ---------------------------------------------------------------------

NOTCH = 0.5
"""The square `(NOTCH, 1]^2` is cut out of the unit square."""
ORDER = 5
"""Gauss points a cell and axis."""


@catalogued("helmholtz-l-shape")
def helmholtz_l_shape(frequency: int = 16, cells: int = 0) -> Problem:
    r"""`Laplacian u + u = f` on an L-shape, solution `sin(w pi x) sin(2 w pi y) + sin(3 w pi x y)` given on its edge.

    The L-shape is the unit square without its upper right quarter; points are Gauss points on equal cells. With
    `w = frequency` it has up to `3 w / 2` waves on a unit of length. After a test of arXiv 2409.01949.

    Parameters
    ----------
    frequency:
        `w`, a positive number.
    cells:
        Cells along a long side, even, each with 5 x 5 Gauss points; `6 w` when 0.
    """
    if not frequency > 0 or cells < 0 or cells % 2:
        raise InputError(
            what=f"frequency is {frequency} and cells {cells}",
            where="helmholtz_l_shape(frequency, cells)",
            remedy="give a positive frequency and an even number of cells",
        )
    wave = np.pi * frequency

    def exact(x):
        return jnp.sin(wave * x[0]) * jnp.sin(2.0 * wave * x[1]) + jnp.sin(3.0 * wave * x[0] * x[1])

    def interior(u, x):
        known, product = exact(x), jnp.sin(3.0 * wave * x[0] * x[1])
        bent = -5.0 * wave**2 * (known - product) - (3.0 * wave) ** 2 * jnp.sum(x**2) * product
        return laplacian(u)(x) + u(x) - (bent + known)

    def edge(u, x, normal):
        return u(x) - exact(x)

    return Problem(
        domain=l_shape(cells or 2 * int(np.ceil(3 * frequency))),
        terms=(Residual("interior", interior), Residual("edge", edge, on="boundary")),
        reference=Reference(exact, 1e-13),
        name="helmholtz-l-shape",
    )


def l_shape(cells: int) -> PointCloud:
    """Gauss points of the unit square without its upper right quarter, and of its six sides.

    Parameters
    ----------
    cells:
        Along a long side, even.
    """
    places, weights = _gauss(cells)
    x, y = (a.ravel() for a in np.meshgrid(places, places, indexing="ij"))
    kept = (x < NOTCH) | (y < NOTCH)
    areas = np.outer(weights, weights).ravel()
    low = places < NOTCH
    sides = [
        (0, 0.0, -1.0, np.full(len(places), True)),
        (1, 0.0, -1.0, np.full(len(places), True)),
        (0, 1.0, 1.0, low),
        (1, 1.0, 1.0, low),
        (0, NOTCH, 1.0, ~low),
        (1, NOTCH, 1.0, ~low),
    ]
    points, normals, lengths = [], [], []
    for axis, at, sign, part in sides:
        along = places[part]
        points.append(np.stack([np.full(len(along), at), along][:: 1 if axis == 0 else -1], axis=1))
        normals.append(sign * np.tile(np.eye(2)[axis], (len(along), 1)))
        lengths.append(weights[part])
    edge = Boundary(np.concatenate(points), np.concatenate(normals), np.concatenate(lengths))
    return PointCloud(np.stack([x, y], axis=1)[kept], areas[kept], {"edge": edge})


def _gauss(cells: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(ORDER)
    places = (np.arange(cells)[:, None] + 0.5 + 0.5 * nodes) / cells
    return places.ravel(), np.tile(weights / (2 * cells), cells)
