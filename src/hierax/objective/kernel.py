"""Curvature with fewer rows than parameters: products and solves go through the space of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hierax.objective.curvature import AbstractCurvature


@dataclass(frozen=True, eq=False)
class KernelGram(AbstractCurvature):
    """`J' J` held as the rows `J` themselves, each times the root of its weight.

    With `m` rows and `N` parameters the Gram matrix would take `N^2` numbers and `m N^2` multiplications; the kernel
    `J D^-1 J'` of a damped step takes `m^2` and `m^2 N`.

    Attributes
    ----------
    rows:
        `(m, N)`.
    """

    rows: np.ndarray

    @property
    def size(self) -> int:
        return self.rows.shape[1]

    def mv(self, vector: np.ndarray) -> np.ndarray:
        return self.rows.T @ (self.rows @ vector)

    def diagonal(self) -> np.ndarray:
        return np.einsum("mn,mn->n", self.rows, self.rows)

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        return np.stack([self.rows[:, index].T @ self.rows[:, index] for index in partition])

    def quadratic(self, vector: np.ndarray) -> float:
        image = self.rows @ vector
        return float(image @ image)
