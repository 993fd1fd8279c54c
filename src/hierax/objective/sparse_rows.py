"""Curvature as sparse rows: networks of splines, whose residual at a point feels few of many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from hierax.hierarchy.variables import SplineLeaves
from hierax.objective.curvature import AbstractCurvature, Coarsened, DenseGram


@dataclass(frozen=True, eq=False)
class SparseRowGram(AbstractCurvature):
    """`J' J` held as sparse rows `J`, each times the root of its weight.

    The Gram matrix of a composed network is dense, its rows are not: products, Galerkin products `(J P)' (J P)` and
    sweeps over blocks take a few passes over the entries of `J`.

    Attributes
    ----------
    rows:
        `(m, N)`, no entry twice.
    leaves:
        The arrays behind the parameters.
    """

    rows: sp.csr_array
    leaves: SplineLeaves

    @property
    def size(self) -> int:
        return int(self.rows.shape[1])  # pyright: ignore

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.rows.T @ (self.rows @ vector)

    def quadratic(self, vector: np.ndarray) -> float:
        image = self.rows @ vector
        return float(image @ image)

    def diagonal(self) -> np.ndarray:
        return np.bincount(self.rows.indices, weights=self.rows.data**2, minlength=self.size)

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        columns = self.rows.tocsc()
        return np.stack([(columns[:, index].T @ columns[:, index]).toarray() for index in partition])

    def shifted(self, shift: np.ndarray) -> SparseRowGram:
        """`A + diag(shift)`: one more row for each parameter."""
        return SparseRowGram(sp.csr_array(sp.vstack([self.rows, sp.diags_array(np.sqrt(shift))])), self.leaves)

    def galerkin(self) -> Coarsened | None:
        below = self.leaves.below
        if below is None:
            return None
        leaves, matrix = below
        coarse = SparseRowGram(sp.csr_array(self.rows @ matrix), leaves)
        return Coarsened(coarse, lambda v: matrix @ v, lambda v: matrix.T @ v)

    def dense(self) -> DenseGram:
        """The matrix itself."""
        return DenseGram((self.rows.T @ self.rows).toarray())


def stacked(parts: Sequence[sp.csr_array]) -> sp.csr_array:
    """Rows below each other, entries at the same place added up."""
    rows = sp.csr_array(sp.vstack(parts, format="csr"))
    rows.sum_duplicates()
    return rows
