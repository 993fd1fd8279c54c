r"""Spline grids on a part of their box: functions that hardly meet it are bound to those that do.

A B-spline whose support has no cell that is well inside of a shape is determined by almost nothing, and the smaller a
cut, the worse. Its coefficient is what continues the polynomial of the nearest good cell: the polar form of that
polynomial at its knots. So coefficients are :math:`c = E z` with those :math:`z` of the inner functions; polynomials
and their order of approximation stay, and condition numbers do not depend on how small a cut is.

References
----------
Hoellig, Reif, Wipper, SIAM J. Numer. Anal. 39 (2001) 442-462 (extended B-splines).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from scipy.spatial import KDTree

from hierax.fields.axis import Periodic, SplineAxis
from hierax.fields.base import positions
from hierax.fields.broken_grid import BrokenGrid
from hierax.fields.bspline import polar_weights
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.unknowns import Unknowns
from hierax.geometry import AbstractShape
from hierax.geometry.body import interior_rule
from hierax.geometry.regions import Regions
from hierax.objective.curvature import AbstractCurvature, BandGram, SparseGram

GOOD = 0.4
"""Least share of a cell inside of a shape for its polynomial to be continued."""


@final
@dataclass(frozen=True, eq=False)
class Extension:
    """The matrix `E` `(N, n)` from the coefficients of inner functions to all; those without support are zero.

    Attributes
    ----------
    matrix:
        `E`; its rows at `inner` are those of the identity.
    inner:
        Numbers `(n,)` of the inner parameters.
    places:
        Positions `(n, dim)` of the inner parameters, NaN for those that act everywhere.
    """

    matrix: sp.csr_array
    inner: np.ndarray
    places: np.ndarray

    @classmethod
    def of(cls, field: Any, shape: AbstractShape | None, regions: Regions | None = None) -> Extension | None:
        """That of grids in a shape or its parts, or of unknowns made of them; `None` for other fields, and in a box."""
        whole = shape if regions is None else regions.domain
        if whole is None:
            return None
        unknowns = list(field.parts.values()) if isinstance(field, Unknowns) else [field]
        blocks, inner, start = [], [], 0
        for part, body in [pair for unknown in unknowns for pair in _by_region(unknown, shape, regions)]:
            if isinstance(part, SplineGrid):
                matrix, own = _whole(part) if body is None else _of_grid(part, body)
            elif np.ndim(part) == 0 and hasattr(part, "value"):
                matrix, own = sp.csr_array(np.eye(1)), np.zeros(1, int)
            else:
                return None
            blocks.append(matrix)
            inner.append(own + start)
            start += matrix.shape[0]  # pyright: ignore
        chosen = np.concatenate(inner)
        return cls(
            sp.csr_array(sp.block_diag(blocks, format="csr")),
            chosen,
            positions(field, whole.dim)[chosen],
        )  # pyright: ignore

    def projected(self, theta: np.ndarray) -> np.ndarray:
        """Parameters with the same inner ones, and the others bound to them."""
        return self.matrix @ theta[self.inner]


def _by_region(
    part: Any, shape: AbstractShape | None, regions: Regions | None
) -> list[tuple[Any, AbstractShape | None]]:
    """The grids of an unknown, each with where it lives."""
    if regions is not None and isinstance(part, BrokenGrid):
        return list(zip(part.grids, regions.bodies, strict=True))
    return [(part, shape)]


def _whole(grid: SplineGrid) -> tuple[sp.csr_array, np.ndarray]:
    size = grid.coefficients.size
    return sp.csr_array(sp.eye_array(size)), np.arange(size)


def _of_grid(grid: SplineGrid, shape: AbstractShape) -> tuple[sp.csr_array, np.ndarray]:
    cells = [np.asarray(a.breakpoints()) for a in grid.axes]
    shares, met = _shares(grid, shape)
    good = shares >= min(GOOD, 0.5 * float(shares.max()))
    inner, touched = _alive(grid, good), _alive(grid, met)
    number, own = np.cumsum(inner.ravel()) - 1, np.flatnonzero(inner.ravel())
    row, column, data = own, np.arange(len(own)), np.ones(len(own))
    outer = np.argwhere(touched & ~inner)
    if len(outer):
        columns, weights = _continued(grid, outer, np.argwhere(good), cells)
        flat = np.ravel_multi_index(tuple(outer.T), inner.shape)
        row = np.concatenate([row, np.repeat(flat, weights.shape[1])])
        column = np.concatenate([column, number[columns.ravel()]])
        data = np.concatenate([data, weights.ravel()])
    matrix = sp.coo_array((data, (row, column)), shape=(inner.size, len(own)))
    channels = int(np.prod(grid.channels, dtype=int))
    whole = sp.csr_array(sp.kron(matrix, sp.eye_array(channels), format="csr"))
    return whole, (own[:, None] * channels + np.arange(channels)).ravel()


def _continued(
    grid: SplineGrid, outer: np.ndarray, good: np.ndarray, cells: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Of functions `outer` `(n, dim)` the functions of the nearest good cell, and their weights, both `(n, k)`."""
    # places are counted in cells, so that the nearest is so on graded meshes too
    where = [_in_cells(a.positions()[k], b) for a, b, k in zip(grid.axes, cells, outer.T, strict=True)]
    # along a periodic axis the nearest cell may lie in the period before or after
    turns = [(-a.intervals, 0, a.intervals) if isinstance(a.ends, Periodic) else (0,) for a in grid.axes]
    shifts = np.array(list(itertools.product(*turns)))
    every = (good + shifts[:, None]).reshape(-1, good.shape[1])
    number = KDTree(every + 0.5).query(np.stack(where, axis=1))[1]
    nearest, shift = good[number % len(good)], shifts[number // len(good)]
    column, weight = np.zeros((len(outer), 1), int), np.ones((len(outer), 1))
    for axis, j, i in zip(grid.axes, (outer - shift).T, nearest.T, strict=True):
        alive, w = (i[:, None] + np.arange(axis.degree + 1)) % axis.size, _continuing(axis, j, i)
        column = (column[:, :, None] * axis.size + alive[:, None]).reshape(len(outer), -1)
        weight = (weight[:, :, None] * w[:, None]).reshape(len(outer), -1)
    return column, weight


def _continuing(axis: SplineAxis, number: np.ndarray, piece: np.ndarray) -> np.ndarray:
    """As `polar_weights`; along a periodic axis numbers may be those of functions in the periods beside."""
    if not isinstance(axis.ends, Periodic):
        return polar_weights(axis.knots, axis.degree, number, piece)
    ends, n = axis.breakpoints(), axis.intervals
    far = np.arange(-n - axis.degree, 2 * n + axis.degree + 1)
    knots = ends[far % n] + (ends[-1] - ends[0]) * (far // n)
    return polar_weights(knots, axis.degree, number + n, piece + n)


def _in_cells(x: np.ndarray, breaks: np.ndarray) -> np.ndarray:
    solid = np.flatnonzero(np.diff(breaks) > 0)
    return np.interp(x, np.r_[breaks[solid], breaks[-1]], np.r_[solid, len(breaks) - 1].astype(float))


def _shares(grid: SplineGrid, shape: AbstractShape) -> tuple[np.ndarray, np.ndarray]:
    """Share of every cell that lies inside of a shape, and which cells meet it."""
    cells = grid.mesh()
    rule = interior_rule(shape, cells, 3)
    breaks = [np.asarray(b) for b in grid.breakpoints()]
    index = [
        np.clip(np.searchsorted(b, x, "right") - 1, 0, len(b) - 2) for b, x in zip(breaks, rule.points.T, strict=True)
    ]
    counts = [len(b) - 1 for b in breaks]
    flat = np.ravel_multi_index(index, counts)  # pyright: ignore
    inside = np.bincount(flat, weights=rule.weights, minlength=int(np.prod(counts))).reshape(counts)
    volume = np.ones(())
    for b in breaks:
        volume = volume[..., None] * np.diff(b)
    return inside / np.where(volume > 0, volume, 1.0), inside > 0.0


def _alive(grid: SplineGrid, cells: np.ndarray) -> np.ndarray:
    """Functions with support on any of some cells."""
    out = cells
    for k, axis in enumerate(grid.axes):
        out = np.moveaxis(out, k, 0)
        spread = np.zeros((axis.size, *out.shape[1:]), bool)
        for shift in range(axis.degree + 1):
            np.logical_or.at(spread, (np.arange(len(out)) + shift) % axis.size, out)
        out = np.moveaxis(spread, 0, k)
    return out


@final
@dataclass(frozen=True, eq=False)
class ExtendedGram(AbstractCurvature):
    """A curvature `A` of all parameters of which only `E z` are free: steps solve `E' A E z = E' b`."""

    whole: SparseGram | BandGram
    extension: Extension

    @property
    def size(self) -> int:
        return self.whole.size

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.whole.mv(vector)

    def diagonal(self) -> np.ndarray:
        return self.whole.diagonal()

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        return self.whole.blocks(partition)

    def reduced(self) -> sp.csr_array:
        """`E' A E`, sparse."""
        e = self.extension.matrix
        return sp.csr_array(e.T @ sparse(self.whole) @ e)


def sparse(curvature: SparseGram | BandGram) -> sp.csr_array:
    """A curvature on a grid as a sparse matrix in the order of the flat parameters."""
    if isinstance(curvature, SparseGram):
        return curvature.matrix
    o, n = curvature.ordering, curvature.ordering.size
    matrix = sp.dia_array((curvature.lower, -np.arange(o.band + 1)), shape=(n, n))
    lower = sp.coo_array(matrix)
    whole = sp.bmat([[lower + sp.tril(lower, -1).T, sp.coo_array(curvature.border)],
                     [sp.coo_array(curvature.border).T, sp.coo_array(curvature.corner)]], format="csr")  # fmt: skip
    return sp.csr_array(sp.csr_array(whole)[o.place][:, o.place])
