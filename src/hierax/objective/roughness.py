"""Matrices of roughness penalties: integrals of squared derivatives of spline grids, exact and without any kernel."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from hierax.fields.axis import SplineAxis
from hierax.fields.base import parameter_count
from hierax.fields.moving import reference_grid
from hierax.fields.spline_grid import SplineGrid
from hierax.fields.unknowns import Unknowns
from hierax.objective.curvature import SparseGram


@dataclass(frozen=True)
class Roughness:
    r"""The penalty :math:`\frac{L_a^{2m}}{2 |\Omega|} \int (\partial_a^m v)^2` of one unknown `v` before bounds and
    constraint.

    Parameters
    ----------
    name:
        The unknown; empty for the only one.
    axes, order:
        Coordinates :math:`a` (of length :math:`L_a`) to sum over, and order :math:`m` of the derivative.
    """

    name: str
    axes: tuple[int, ...]
    order: int

    def gram(self, field: Any) -> SparseGram:
        """Its matrix for a spline grid, or for unknowns made of them; of a stretched one in reference coordinates."""
        alone = reference_grid(field)
        if alone is not None:
            return SparseGram(sp.csr_array(self._matrix(alone)))
        assert isinstance(field, Unknowns)
        blocks = []
        for name, part in field.parts.items():
            size = parameter_count(part)
            grid = reference_grid(part) if name == self.name else None
            blocks.append(sp.csr_array((size, size)) if grid is None else self._matrix(grid))
        return SparseGram(sp.csr_array(sp.block_diag(blocks, format="csr")))

    def _matrix(self, grid: SplineGrid) -> sp.csr_array:
        parts = [_grid_matrix(grid, axis, self.order) for axis in self.axes]
        return sp.csr_array(functools.reduce(lambda a, b: a + b, parts))


def _grid_matrix(grid: SplineGrid, axis: int, order: int) -> sp.csr_array:
    parts = []
    for k, own in enumerate(grid.axes):
        length = float(np.ptp(own.breakpoints()))
        m = order if k == axis else 0
        parts.append(axis_gram(own, m) * length ** (2 * m - 1))
    channels = int(np.prod(grid.channels, dtype=int))
    return sp.csr_array(functools.reduce(sp.kron, [*parts, sp.eye_array(channels)]))


def axis_gram(axis: SplineAxis, order: int) -> sp.csr_array:
    r"""Matrix :math:`\int b_i^{(m)} b_j^{(m)}` of one axis, `(size, size)`, by Gauss quadrature that is exact."""
    nodes, weights = np.polynomial.legendre.leggauss(axis.degree + 1)
    coefficients = np.asarray(axis.pieces.coefficients)
    scale = np.asarray(axis.pieces.inverse_length)
    power = np.arange(axis.degree + 1)
    factor = np.array([np.prod(np.arange(k - order + 1, k + 1)) if k >= order else 0.0 for k in power])
    reduced = np.where(power >= order, power - order, 0)
    table = factor * (nodes[:, None] / 2) ** reduced
    values = np.einsum("qk,nkj->nqj", table, coefficients) * scale[:, None, None] ** order
    local = np.einsum("q,nqi,nqj->nij", weights / 2, values, values) / scale[:, None, None]
    length = np.diff(np.asarray(axis.breakpoints()))
    local[length <= 0] = 0.0
    alive = (np.arange(axis.intervals)[:, None] + np.arange(axis.degree + 1)) % axis.size
    rows = np.broadcast_to(alive[:, :, None], local.shape)
    columns = np.broadcast_to(alive[:, None, :], local.shape)
    matrix = sp.coo_array((local.ravel(), (rows.ravel(), columns.ravel())), shape=(axis.size, axis.size))
    return sp.csr_array(matrix)
