"""Spectral elements for diffusion on the unit square, for references that have no formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from numpy.polynomial import legendre


@dataclass(frozen=True, eq=False)
class SpectralElements:
    r"""Solution of `-div(a grad u) = f` on the unit square with `u = 0` on its boundary.

    `cells^2` equal elements with polynomials of one degree in either direction through Gauss-Lobatto points, which are
    also the quadrature points (Patera, J. Comput. Phys. 54 (1984)). The unknowns inside elements are eliminated first;
    the system of the others is factored.

    Parameters
    ----------
    coefficient, source:
        `a > 0` and `f`: from points `(n, 2)` to `(n,)`.
    cells:
        Elements along a side.
    degree:
        At least 2.
    """

    coefficient: Callable[[np.ndarray], np.ndarray]
    source: Callable[[np.ndarray], np.ndarray]
    cells: int
    degree: int = 8

    @cached_property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Lobatto points and weights on [-1, 1]."""
        last = np.r_[np.zeros(self.degree), 1.0]
        x = np.r_[-1.0, np.sort(np.real(legendre.legroots(legendre.legder(last)))), 1.0]
        return x, 2.0 / (self.degree * (self.degree + 1) * legendre.legval(x, last) ** 2)

    @cached_property
    def table(self) -> np.ndarray:
        """Values at the nodes of all elements, `(cells * degree + 1)` of them along a side."""
        side = self.cells * self.degree + 1
        stiffness, load = self._elements()
        index = self._numbers(side)
        inside = np.zeros((self.degree + 1, self.degree + 1), dtype=bool)
        inside[1:-1, 1:-1] = True
        i, e = np.flatnonzero(inside), np.flatnonzero(~inside)
        coupling = stiffness[:, i][:, :, e]
        eliminated = np.linalg.solve(stiffness[:, i][:, :, i], np.concatenate([coupling, load[:, i, None]], axis=2))
        reduced = stiffness[:, e][:, :, e] - np.swapaxes(coupling, 1, 2) @ eliminated[:, :, :-1]
        right = load[:, e] - np.einsum("nie,ni->ne", coupling, eliminated[:, :, -1])
        values = self._skeleton(side, index[:, e], reduced, right)
        values[index[:, i]] = eliminated[:, :, -1] - np.einsum("nie,ne->ni", eliminated[:, :, :-1], values[index[:, e]])
        return values.reshape(side, side)

    def _skeleton(self, side: int, index: np.ndarray, reduced: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Solution on the edges of the elements, zero elsewhere, by one sparse factorisation."""
        grid = np.arange(side)
        x, y = (a.ravel() for a in np.meshgrid(grid, grid, indexing="ij"))
        used = np.zeros(side**2, dtype=bool)
        used[index.ravel()] = True
        free = used & (x > 0) & (x < side - 1) & (y > 0) & (y < side - 1)
        place = np.full(side**2, -1)
        place[free] = np.arange(free.sum())
        rows = np.broadcast_to(index[:, :, None], reduced.shape).ravel()
        columns = np.broadcast_to(index[:, None, :], reduced.shape).ravel()
        kept = free[rows] & free[columns]
        triple = (reduced.ravel()[kept], (place[rows[kept]], place[columns[kept]]))
        matrix = sp.csc_matrix(triple, shape=(free.sum(), free.sum()))
        total = np.bincount(index.ravel(), right.ravel(), side**2)
        values = np.zeros(side**2)
        values[free] = spl.splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(total[free])
        return values

    def _elements(self) -> tuple[np.ndarray, np.ndarray]:
        """Stiffness matrices and load vectors of all elements."""
        x, w = self.nodes
        slopes, unit = _lagrange_slopes(x), np.eye(len(x))
        scale = 2.0 * self.cells
        along, across = scale * np.kron(slopes, unit), scale * np.kron(unit, slopes)
        area = np.outer(w, w).ravel() / scale**2
        places = ((np.arange(self.cells)[:, None] + 0.5 + 0.5 * x) / self.cells).reshape(self.cells, -1)
        grid = np.stack(np.broadcast_arrays(places[:, None, :, None], places[None, :, None, :]), axis=-1).reshape(-1, 2)
        a = self.coefficient(grid).reshape(-1, len(area)) * area
        stiffness = np.einsum("ki,nk,kj->nij", along, a, along, optimize=True)
        stiffness += np.einsum("ki,nk,kj->nij", across, a, across, optimize=True)
        return stiffness, self.source(grid).reshape(-1, len(area)) * area

    def _numbers(self, side: int) -> np.ndarray:
        """Number of every node of every element, `(elements, nodes)`."""
        axis = self.degree * np.arange(self.cells)[:, None] + np.arange(self.degree + 1)
        return (axis[:, None, :, None] * side + axis[None, :, None, :]).reshape(self.cells**2, -1)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values at points `(n, 2)` of the unit square, shape `(n,)`."""
        x, _ = self.nodes
        scaled = np.clip(points, 0.0, 1.0) * self.cells
        cell = np.minimum(scaled.astype(int), self.cells - 1)
        rows = _lagrange_rows(x, 2.0 * (scaled - cell) - 1.0)
        index = self.degree * cell[:, :, None] + np.arange(self.degree + 1)
        return np.einsum("pi,pj,pij->p", rows[:, 0], rows[:, 1], self.table[index[:, 0, :, None], index[:, 1, None, :]])


def _lagrange_rows(nodes: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Lagrange polynomials of the nodes `(k,)` at `at` of any shape: `at.shape + (k,)`."""
    rows = np.ones((*at.shape, len(nodes)))
    for k, m in zip(*np.nonzero(~np.eye(len(nodes), dtype=bool)), strict=True):
        rows[..., k] *= (at - nodes[m]) / (nodes[k] - nodes[m])
    return rows


def _lagrange_slopes(nodes: np.ndarray) -> np.ndarray:
    """Derivative of polynomial `j` at node `i`, diagonal by zero sums of the rows."""
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    weights = 1.0 / np.prod(gaps, axis=1)
    matrix = weights / weights[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix
