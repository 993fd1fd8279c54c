"""The spaces below a level, for preconditioning: every second knot is dropped as long as there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from hierax.fields.axis import SplineAxis, insertion

FEWEST = 8
"""Fewest intervals of an axis that is made coarser."""


@dataclass(frozen=True, eq=False)
class GridProlongation:
    """From a coarser tensor grid of splines to a finer one: one sparse matrix an axis, `None` where nothing changes.

    Attributes
    ----------
    axes:
        Matrices `(fine nodes, coarse nodes)`.
    """

    axes: tuple[csr_array | None, ...]

    def prolong(self, coarse: np.ndarray) -> np.ndarray:
        """Coefficients `(coarse nodes of axis 1, ..., channels)` of the same function on the finer grid."""
        return self._along(coarse, self.axes)

    def restrict(self, fine: np.ndarray) -> np.ndarray:
        """Transpose of `prolong`, for gradients and residuals."""
        return self._along(fine, [None if m is None else m.T for m in self.axes])

    def _along(self, values: np.ndarray, matrices: Sequence[csr_array | None]) -> np.ndarray:
        for axis, matrix in enumerate(matrices):
            if matrix is not None:
                moved = np.moveaxis(values, axis, 0)
                product = matrix @ np.ascontiguousarray(moved).reshape(len(moved), -1)
                values = np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis)
        return np.ascontiguousarray(values)


def coarser_axes(axes: Sequence[SplineAxis]) -> tuple[SplineAxis, ...] | None:
    """Axes with every second breakpoint, where there are enough; `None` when no axis can be made coarser.

    On grids that were made by halving all intervals these are the axes of the level before.
    """
    out = tuple(axis.with_breakpoints(_thinned(axis.breakpoints())) if _enough(axis) else axis for axis in axes)
    return None if all(new is old for new, old in zip(out, axes, strict=True)) else out


def prolongation(coarse: Sequence[SplineAxis], fine: Sequence[SplineAxis]) -> GridProlongation:
    """The exact map between two nested grids."""
    pairs = zip(coarse, fine, strict=True)
    return GridProlongation(tuple(None if c is f else insertion(c, f) for c, f in pairs))


def _thinned(points: np.ndarray) -> np.ndarray:
    return np.append(points[:-1:2], points[-1])


def _enough(axis: SplineAxis) -> bool:
    # a periodic axis must not become so short that a function meets itself
    wraps = axis.size < axis.intervals + axis.degree
    return axis.intervals // 2 >= (max(FEWEST // 2, 2 * axis.degree + 1) if wraps else FEWEST // 2)
