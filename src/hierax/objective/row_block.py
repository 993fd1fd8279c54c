"""Rows of the Jacobian of some points, and how they are written into rows of all parameters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array


class RowBlock(NamedTuple):
    """Rows `(n, m, k)`, values `(n,)`, gradients `(n, k)` and weights of some points of a term.

    `index` `(n, k)` says to which parameters they belong; without it they belong to all.
    """

    rows: np.ndarray
    values: np.ndarray
    slopes: np.ndarray
    weights: np.ndarray
    index: np.ndarray | None  # pyright: ignore  (a tuple's own `index` is of no use here)

    def weighted(self, scale: float, size: int) -> np.ndarray:
        """Rows `(n m, size)` of all parameters, times the roots of weights and scale."""
        flat = self._flat(scale)
        if self.index is None:
            return flat
        return _spread(flat, np.repeat(self.index, self.rows.shape[1], axis=0), size)

    def sparse(self, scale: float, size: int) -> csr_array:
        """As `weighted`, without the zeros; entries at the same place stand beside each other."""
        flat = self._flat(scale)
        if self.index is None:
            return csr_array(flat)
        index = np.repeat(self.index, self.rows.shape[1], axis=0)
        return csr_array((flat.ravel(), index.ravel(), np.arange(0, flat.size + 1, flat.shape[1])), (len(flat), size))

    def _flat(self, scale: float) -> np.ndarray:
        tall = self.rows * np.sqrt(self.weights * scale)[:, None, None]
        return tall.reshape(-1, tall.shape[2])


def _spread(rows: np.ndarray, index: np.ndarray, size: int) -> np.ndarray:
    """Rows `(n, k)` written at their places into rows of all parameters, `(n, size)`; equal places add up."""
    places = np.arange(len(rows))[:, None] * size + index
    return np.bincount(places.ravel(), rows.ravel(), minlength=len(rows) * size).reshape(-1, size)
