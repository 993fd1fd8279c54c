"""Curvature as sparse rows: networks of splines, whose residual at a point feels few of many parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import dsyrk  # pyright: ignore

from hierax.hierarchy.variables import SplineLeaves
from hierax.objective.curvature import AbstractCurvature, Coarsened, DenseGram

BLOCK_ENTRIES = 4_000_000
"""Most numbers in one dense block of rows."""


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
        gram = np.zeros((self.size, self.size), order="F")
        width = max(1, BLOCK_ENTRIES // max(self.size, 1))
        for start in range(0, self.rows.shape[0], width):  # pyright: ignore
            # on coarse spaces rows are nearly full: ten times faster than a product of sparse matrices
            part = self.rows[start : start + width].toarray()
            dsyrk(1.0, part.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
        return DenseGram(gram + np.tril(gram, -1).T)


def stacked(parts: Sequence[sp.csr_array]) -> sp.csr_array:
    """Rows below each other, entries at the same place added up."""
    rows = sp.csr_array(sp.vstack(parts, format="csr"))
    rows.sum_duplicates()
    return rows
